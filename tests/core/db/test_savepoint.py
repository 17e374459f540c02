"""Attempts on the request's sessions, with real transactions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    Database,
    DatabaseUnavailable,
    Savepoint,
    SerializationFailure,
    SessionScope,
    savepoint,
    session_scope,
)
from app.features.records.models import Record

pytestmark = pytest.mark.usefixtures("entries")


@pytest.fixture
async def scope(database: Database) -> AsyncIterator[SessionScope]:
    with session_scope(database) as scope:
        yield scope
        await scope.rollback()


@pytest.fixture
async def session(scope: SessionScope) -> AsyncIterator[AsyncSession]:
    session = scope.open()
    yield session
    await session.close()


async def add(session: AsyncSession, number: int) -> None:
    await session.execute(text("INSERT INTO entries VALUES (:id, :id, 'x')"), {"id": number})


async def kept(database: Database) -> list[int]:
    async with database.connect() as connection:
        return list(await connection.scalars(text("SELECT id FROM entries ORDER BY id")))


async def attempt(point: Savepoint, *work: Awaitable[object], error: Exception | None = None) -> None:
    """Do this within it, one after the other, and fail then."""
    async with point:
        for step in work:
            await step
        raise error or ValueError("no")


async def test_an_attempt_that_failed_leaves_what_was_before_it(
    database: Database, scope: SessionScope, session: AsyncSession
) -> None:
    await add(session, 1)
    point = scope.savepoint()
    with pytest.raises(ValueError, match="no"):
        await attempt(point, add(session, 2))
    assert point.is_repeatable
    async with scope.savepoint():
        await add(session, 3)
    await scope.commit()
    assert await kept(database) == [1, 3]


async def test_a_session_that_the_attempt_began_is_rolled_back_whole(
    database: Database, scope: SessionScope, session: AsyncSession
) -> None:
    point = scope.savepoint()
    with pytest.raises(ValueError, match="no"):
        await attempt(point, add(session, 2))
    assert point.is_repeatable
    assert not session.in_transaction()
    async with scope.savepoint():
        await add(session, 3)
    await scope.commit()
    assert await kept(database) == [3]


async def test_a_statement_that_was_refused_does_not_spoil_the_next_attempt(
    database: Database, scope: SessionScope, session: AsyncSession
) -> None:
    await add(session, 1)
    point = scope.savepoint()

    async def doing() -> None:
        async with point:
            await add(session, 1)

    with pytest.raises(Exception, match="pk_entries"):
        await doing()
    assert point.is_repeatable
    async with scope.savepoint():
        await add(session, 2)
    await scope.commit()
    assert await kept(database) == [1, 2]


async def test_nothing_is_sent_for_a_session_that_nobody_uses(
    scope: SessionScope, session: AsyncSession
) -> None:
    async with scope.savepoint():
        assert not session.in_transaction()
    assert not scope.has_work


async def test_what_was_committed_cannot_be_repeated(scope: SessionScope, session: AsyncSession) -> None:
    for _ in range(2):  # the second time the session is in a transaction before
        point = scope.savepoint()
        with pytest.raises(ValueError, match="no"):
            await attempt(point, session.execute(text("SELECT 1")), session.commit())
        assert not point.is_repeatable
        await session.execute(text("SELECT 1"))


async def test_a_commit_before_the_attempt_is_none_of_its_business(
    scope: SessionScope, session: AsyncSession
) -> None:
    await session.execute(text("SELECT 1"))
    await session.commit()
    point = scope.savepoint()

    async def nest() -> None:
        async with session.begin_nested():
            await session.execute(text("SELECT 1"))

    with pytest.raises(ValueError, match="no"):
        await attempt(point, nest())
    assert point.is_repeatable


async def test_what_the_handler_rolled_back_cannot_be_repeated(
    scope: SessionScope, session: AsyncSession
) -> None:
    await add(session, 1)
    point = scope.savepoint()
    with pytest.raises(ValueError, match="no"):
        await attempt(point, session.rollback())
    assert not point.is_repeatable


async def test_a_lost_race_ends_the_request(scope: SessionScope, session: AsyncSession) -> None:
    point = scope.savepoint()
    with pytest.raises(SerializationFailure):
        await attempt(point, session.execute(text("SELECT 1")), error=SerializationFailure())
    assert not point.is_repeatable


async def test_a_broken_connection_ends_the_request(
    database: Database, scope: SessionScope, session: AsyncSession
) -> None:
    await add(session, 1)
    pid = await session.scalar(text("SELECT pg_backend_pid()"))
    point = scope.savepoint()

    async def doing() -> None:
        async with point:
            async with database.connect() as other:
                await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            await add(session, 2)

    with pytest.raises(DBAPIError):
        await doing()
    assert not point.is_repeatable


async def test_an_attempt_that_was_cut_off_in_a_statement_ends_the_request(
    scope: SessionScope, session: AsyncSession
) -> None:
    await add(session, 1)
    point = scope.savepoint()

    async def doing() -> None:
        async with asyncio.timeout(0.05), point:
            await session.execute(text("SELECT pg_sleep(30)"))

    with pytest.raises(TimeoutError):
        await doing()
    assert not point.is_repeatable


async def test_an_attempt_that_was_cut_off_elsewhere_can_be_repeated(
    database: Database, scope: SessionScope, session: AsyncSession
) -> None:
    await add(session, 1)
    point = scope.savepoint()

    async def doing() -> None:
        async with asyncio.timeout(None) as limit, point:
            await add(session, 2)
            limit.reschedule(0)  # however long it took until here
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await doing()
    assert point.is_repeatable
    await scope.commit()
    assert await kept(database) == [1]


async def test_an_error_of_work_that_used_no_session_can_be_repeated(
    scope: SessionScope, session: AsyncSession
) -> None:
    point = scope.savepoint()
    with pytest.raises(DatabaseUnavailable):
        await attempt(point, error=DatabaseUnavailable())
    assert point.is_repeatable


async def test_what_is_refused_when_the_attempt_ends_is_undone(
    database: Database, scope: SessionScope, session: AsyncSession
) -> None:
    await add(session, 1)
    point = scope.savepoint()

    async def doing() -> None:
        async with point:
            session.add(Record(owner_id=uuid4(), name="of nobody"))

    with pytest.raises(IntegrityError):
        await doing()
    assert point.is_repeatable
    await scope.commit()
    assert await kept(database) == [1]


async def test_outside_a_request_there_is_nothing_to_undo() -> None:
    point = savepoint()
    with pytest.raises(ValueError, match="no"):
        await attempt(point)
    assert point.is_repeatable
