"""Document 003: what it promises in prose about repositories, units of work, helpers and security."""

import inspect
from collections.abc import Awaitable, Callable
from inspect import signature
from time import process_time
from typing import Any, get_type_hints
from uuid import uuid4

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core.db import (
    AsyncBaseRepository,
    BulkOperations,
    ConstraintViolated,
    Database,
    InvalidValue,
    QueryAnalyzer,
    RepositoryFactory,
    RepositoryProvider,
    Search,
    UnitOfWork,
    UnknownField,
    watch_queries,
)
from app.core.errors import ConfigurationError, EntityNotFoundError
from app.features.records.models import Record
from app.features.records.router import router as records
from app.registry import Feature
from app.settings import Settings
from tests.credited import CREDITS
from tests.gated import bearer, serving
from tests.staff import Badge, Certification, Person, stored_persons

ROWS = 300


def test_003_line_28_whatever_asks_the_database_is_awaited() -> None:
    methods = inspect.getmembers(AsyncBaseRepository, inspect.isfunction)
    plain = [
        name
        for name, method in methods
        if not name.startswith("_") and not inspect.iscoroutinefunction(method)
    ]
    # An iterator and a context manager: ``async for`` and ``async with``.
    assert plain == ["batches", "stream"]
    assert inspect.isasyncgenfunction(AsyncBaseRepository.batches)


async def test_003_line_32_many_rows_are_few_statements(session: AsyncSession) -> None:
    repo = AsyncBaseRepository(Badge, session)
    with watch_queries(reads_only=False) as watch:
        badges = await repo.bulk_create([{"rank": number} for number in range(500)])
        assert await repo.bulk_update([{"id": badge.id, "text": "x"} for badge in badges]) == 500
        assert await repo.bulk_delete([badge.id for badge in badges]) == 500
    assert watch.statements <= 4  # one more reads the changed objects again


async def test_003_line_33_nothing_is_kept_before_a_commit_and_a_rollback_undoes(
    session: AsyncSession, staff: Database
) -> None:
    repo = AsyncBaseRepository(Person, session)
    await repo.create({"name": "Ann"})
    assert await stored_persons(staff) == []
    await repo.rollback()
    await repo.create({"name": "Bob"})
    await repo.commit()
    assert await stored_persons(staff) == ["Bob"]


async def test_003_line_34_common_questions_have_helpers(session: AsyncSession) -> None:
    repo = AsyncBaseRepository(Person, session)
    assert (await repo.exists({"name": "Ann"}), await repo.count()) == (False, 0)
    ann = await repo.create({"name": "Ann"})
    assert (await repo.exists({"name": "Ann"}), await repo.count()) == (True, 1)
    assert await repo.get_one(ann.id) is ann
    with pytest.raises(EntityNotFoundError):
        await repo.get_one("nobody")
    same = await repo.upsert({"id": ann.id, "name": "Anne"}, conflict_on=["id"])
    assert (same.id, same.name) == (ann.id, "Anne")


async def test_003_line_169_repositories_of_a_unit_are_found_by_name(session: AsyncSession) -> None:
    async with UnitOfWork(session) as uow:
        persons = AsyncBaseRepository(Person, session)
        uow.register_repository("persons", persons)
        assert uow.repository("persons") is persons
        with pytest.raises(ConfigurationError, match="assignments"):
            uow.repository("assignments")


async def test_003_line_170_any_error_rolls_a_unit_back_and_gives_its_connection_back(
    staff: Database,
) -> None:
    async def work(session: AsyncSession) -> None:
        async with UnitOfWork(session):
            await AsyncBaseRepository(Person, session).create({"name": "Ann"})
            raise ZeroDivisionError

    async with staff.session() as session:
        with pytest.raises(ZeroDivisionError):
            await work(session)
        assert not session.in_transaction()
        assert staff.pool_status().checked_out == 0
    assert await stored_persons(staff) == []


async def test_003_line_200_repositories_are_made_when_asked_for_and_once(session: AsyncSession) -> None:
    made: list[type] = []

    def make(session: AsyncSession) -> AsyncBaseRepository[Person]:
        made.append(Person)
        return AsyncBaseRepository(Person, session)

    factory = RepositoryFactory()
    factory.register(Person, make)
    provider = RepositoryProvider(session, factory)
    assert made == []
    assert provider.get_repository(Person) is provider.get_repository(Person)
    assert made == [Person]
    assert RepositoryProvider(session, factory).get_repository(Person) is not provider.get_repository(Person)


async def test_003_line_202_a_repository_knows_the_type_of_its_rows(session: AsyncSession) -> None:
    repo: AsyncBaseRepository[Person] = RepositoryProvider(session).get_repository(Person)
    assert repo.model is Person
    hints = get_type_hints(RepositoryProvider.get_repository)
    assert hints["return"].__parameters__ == (hints["model"].__args__[0],)
    factory = RepositoryFactory()
    wrong: Any = lambda session: AsyncBaseRepository(Certification, session)  # noqa: E731
    factory.register(Person, wrong)
    with pytest.raises(ConfigurationError, match="another model"):
        RepositoryProvider(session, factory).get_repository(Person)


async def test_003_line_586_one_repository_serves_one_model(session: AsyncSession) -> None:
    person = await AsyncBaseRepository(Person, session).create({"name": "Ann"})
    badges = AsyncBaseRepository(Badge, session)
    wrong: Any = person
    with pytest.raises(Exception, match="'id' has a value that does not fit"):
        await badges.update(wrong, {"text": "x"})
    with pytest.raises(UnknownField):
        await badges.create({"name": "Ann"})


async def test_003_line_588_a_large_set_is_read_part_by_part(session: AsyncSession) -> None:
    await BulkOperations.bulk_insert(session, Badge, [{"rank": number} for number in range(250)])
    repo = AsyncBaseRepository(Badge, session)
    sizes = [len(batch) async for batch in repo.batches(size=100)]
    async with repo.stream(size=100) as rows:
        streamed = [row.rank async for row in rows]
    assert (sizes, sorted(number for number in streamed if number is not None)) == ([100, 100, 50], list(range(250)))  # fmt: skip


async def test_003_line_604_slow_queries_are_told_by_a_threshold(staff: Database) -> None:
    assert signature(QueryAnalyzer.enable_query_logging).parameters["slow_ms"].default == 100
    with capture_logs() as logs:
        for slow_ms in (0.0, 3_600_000.0):
            with QueryAnalyzer.enable_query_logging(staff.engine, slow_ms=slow_ms):
                await stored_persons(staff)
    assert [entry["event"] for entry in logs] == ["query.slow"]
    assert logs[0]["duration_ms"] > 0


async def cpu_of(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds that this process computed: the same on a busy machine."""
    started = process_time()
    await work()
    return process_time() - started


async def test_003_line_605_bulk_operations_are_ten_times_faster(session: AsyncSession) -> None:
    repo = AsyncBaseRepository(Person, session)

    def new() -> list[dict[str, Any]]:
        return [{"id": str(uuid4()), "name": str(uuid4())} for _ in range(ROWS)]

    async def row_by_row() -> None:
        for row in new():
            await repo.create(row)

    async def in_bulk() -> None:
        assert await BulkOperations.bulk_insert(session, Person, new()) == ROWS

    await in_bulk()  # statements are compiled once
    await repo.create(new()[0])
    one_by_one = await cpu_of(row_by_row)

    assert one_by_one >= 10 * min([await cpu_of(in_bulk) for _ in range(3)])


async def test_003_line_617_values_are_neither_logged_nor_told(
    session: AsyncSession, staff: Database
) -> None:
    secret = f"secret-{uuid4()}"
    with capture_logs() as logs, QueryAnalyzer.enable_query_logging(staff.engine, verbose=True):
        repo = AsyncBaseRepository(Person, session)
        await repo.create({"name": secret})
        assert await repo.count({"name": secret}) == 1
        with pytest.raises(ConstraintViolated) as refused:
            await repo.create({"name": secret})
    assert len(logs) == 2  # what the server refuses is no executed statement
    assert secret not in f"{logs} {refused.value!r} {refused.value.detail} {refused.value.extensions}"


@pytest.mark.parametrize("given", ["' OR '1'='1", "'; DROP TABLE staff.persons; --", "%", "\\"])
async def test_003_line_618_what_is_given_is_a_parameter(session: AsyncSession, given: str) -> None:
    repo = AsyncBaseRepository(Person, session)
    await repo.create({"name": "Ann"})
    assert await repo.get_by_filters({"name": given}) == []
    assert await repo.get_by_filters(Search(given, ("name",))) == []
    assert await repo.count({"name__in": [given]}) == 0
    with pytest.raises(UnknownField):
        await repo.get_by_filters({given: "Ann"})
    with pytest.raises(UnknownField):
        await repo.get_by_filters({}, order_by=given)
    assert await repo.count() == 1


async def test_003_line_619_input_is_validated_by_its_schema(session: AsyncSession) -> None:
    class BadgeCreate(BaseModel):
        model_config = ConfigDict(extra="forbid")
        rank: int

    repo = AsyncBaseRepository(Badge, session)
    assert (await repo.create(BadgeCreate(rank=7))).rank == 7
    for wrong in ({"rank": "seven"}, {"rank": 7, "owner": "me"}, {}):
        with pytest.raises(ValidationError):
            BadgeCreate.model_validate(wrong)
    # What comes past a schema is refused by the column's type.
    with pytest.raises(InvalidValue):
        await repo.create({"rank": 2**40})


async def test_003_line_620_nobody_gets_more_than_a_page(
    settings: Settings, clean_store: None, clean_database: None
) -> None:
    feature = Feature(name="records", router=records, models=(Record,))
    caller = bearer(uuid4(), scopes=["read:records"], roles=["db_reader"])
    async with serving(settings, CREDITS, feature) as service:
        statuses = {
            limit: (await service.client.get(f"/records?limit={limit}", headers=caller)).status_code
            for limit in (1, 100, 101, 0, 10**9)
        }
    assert statuses == {1: 200, 100: 200, 101: 422, 0: 422, 10**9: 422}
