import re
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InvalidRequestError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from app.core.db import (
    ConstraintViolated,
    Database,
    DatabaseError,
    DatabaseFault,
    DatabaseReadOnly,
    DatabaseTimeout,
    DatabaseUnavailable,
    InvalidValue,
    PoolExhausted,
    SerializationFailure,
    translate,
    translate_errors,
)
from app.core.db._errors import _BY_CLASS, _BY_CODE
from app.core.errors import EntityNotFoundError, GatehouseError
from tests.cases import each_case


def _driver_errors() -> list[Any]:
    classes: list[Any] = [value for value in vars(asyncpg.exceptions).values() if isinstance(value, type)]
    return [kind for kind in classes if issubclass(kind, asyncpg.PostgresError) and kind.sqlstate]


@each_case("kind", _driver_errors(), ids=lambda kind: f"{kind.sqlstate}-{kind.__name__}")
def test_every_sqlstate_that_the_driver_knows_is_mapped(kind: Any) -> None:
    assert kind.sqlstate in _BY_CODE or kind.sqlstate[:2] in _BY_CLASS
    error = translate(kind("secret row"))
    assert isinstance(error, GatehouseError)
    assert "secret" not in (error.detail or "secret")
    assert error.status in (409, 422, 500, 503)


def test_no_map_entry_names_a_code_that_does_not_exist() -> None:
    known = {kind.sqlstate for kind in _driver_errors()}
    assert set(_BY_CODE) <= known
    assert set(_BY_CLASS) == {code[:2] for code in known}


@each_case(
    ("code", "kind", "status"),
    [
        ("23505", ConstraintViolated, 409),
        ("23503", ConstraintViolated, 409),
        ("23502", InvalidValue, 422),
        ("23514", InvalidValue, 422),
        ("22003", InvalidValue, 422),
        ("22021", InvalidValue, 422),
        ("40001", SerializationFailure, 409),
        ("40P01", SerializationFailure, 409),
        ("40003", DatabaseUnavailable, 503),
        ("25006", DatabaseReadOnly, 503),
        ("57014", DatabaseTimeout, 503),
        ("55P03", DatabaseTimeout, 503),
        ("57P01", DatabaseUnavailable, 503),
        ("53300", DatabaseUnavailable, 503),
        ("08006", DatabaseUnavailable, 503),
        ("42P01", DatabaseFault, 500),
        ("25P02", DatabaseFault, 500),
        ("ZZ999", DatabaseFault, 500),
    ],
)
def test_sqlstate_decides_the_class_and_the_status(code: str, kind: Any, status: int) -> None:
    driver: Any = asyncpg.PostgresError("text")
    driver.sqlstate = code
    error: Any = translate(driver)
    assert error.__class__ is kind
    assert (error.status, error.sqlstate) == (status, code)
    assert error.__cause__ is driver


@each_case(
    ("original", "kind"),
    [
        (PoolTimeout(), PoolExhausted),
        (TimeoutError(), DatabaseTimeout),
        (ConnectionRefusedError(), DatabaseUnavailable),
        (FileNotFoundError(), DatabaseUnavailable),
        (StaleDataError(), SerializationFailure),
        (PendingRollbackError("x"), DatabaseFault),
        (PendingRollbackError("x", code="8s2b"), DatabaseUnavailable),
        (InvalidRequestError("x"), DatabaseFault),
        (asyncpg.InvalidCachedStatementError("x"), DatabaseUnavailable),
        (asyncpg.InterfaceError("x"), DatabaseFault),
        (asyncpg.TargetServerAttributeNotMatched("x"), DatabaseUnavailable),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_errors_without_a_sqlstate_are_mapped_by_class(original: Exception, kind: type) -> None:
    assert type(translate(original)) is kind


def test_our_own_errors_pass_unchanged() -> None:
    error = EntityNotFoundError("Record not found")
    assert translate(error) is error
    with pytest.raises(EntityNotFoundError) as caught, translate_errors():
        raise error
    assert caught.value is error


def test_a_bug_is_not_taken_for_an_outage() -> None:
    with pytest.raises(KeyError), translate_errors():
        raise KeyError("x")


def test_fault_has_no_retry_after_and_an_outage_has() -> None:
    assert "Retry-After" not in DatabaseFault("x").headers
    assert DatabaseUnavailable("x").headers["Retry-After"] == "1"


def test_entity_not_found_is_no_database_error() -> None:
    assert not issubclass(EntityNotFoundError, DatabaseError)


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("sql", "values", "expected"),
    [
        ("INSERT INTO entries VALUES (1, 1, 'x'), (1, 1, 'x')", {}, (ConstraintViolated, "pk_entries")),
        ("INSERT INTO entries VALUES (1, 1, NULL)", {}, (InvalidValue, None)),
        ("INSERT INTO entries VALUES (1, 1, '')", {}, (InvalidValue, "ck_entries_text")),
        ("INSERT INTO entries VALUES (1, 1, :text)", {"text": "a\0b"}, (InvalidValue, None)),
        ("INSERT INTO entries VALUES (1, 1, :text)", {"text": "\ud800"}, (InvalidValue, None)),
        ("INSERT INTO entries VALUES (:id, 1, 'x')", {"id": 2**40}, (InvalidValue, None)),
        ("SELECT 1 / 0", {}, (InvalidValue, None)),
        ("SELECT * FROM no_such_table", {}, (DatabaseFault, None)),
        ("SELEKT", {}, (DatabaseFault, None)),
    ],
)
async def test_real_refusals_are_translated(
    db_session: AsyncSession, sql: str, values: dict[str, Any], expected: tuple[type, str | None]
) -> None:
    with pytest.raises(DBAPIError) as caught:
        await db_session.execute(text(sql), values)
    error = translate(caught.value)
    assert (type(error), getattr(error, "constraint", None)) == expected
    assert not re.search("entries|table|SELEKT", error.detail or "")


async def _unreachable(url: str) -> str:
    return re.sub(r"host=[^&]+", "host=/nonexistent", url)


async def _wrong_password(url: str) -> str:
    return re.sub(r"://([^:]+):[^@]+@", r"://\1:wrong@", url)


async def _no_such_database(url: str) -> str:
    return re.sub(r"(@[^/]*/)[^?]+", r"\1no_such_database", url)


@pytest.mark.parametrize("spoil", [_unreachable, _wrong_password, _no_such_database])
async def test_a_database_that_cannot_be_reached_is_unavailable_in_every_way_to_use_it(
    postgres_url: str, spoil: Callable[[str], Awaitable[str]]
) -> None:
    url = await spoil(postgres_url)
    assert url != postgres_url
    database = Database(url)
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    async with database.session() as session:
        with pytest.raises(DatabaseUnavailable):
            await session.execute(text("SELECT 1"))
    await database.close()
