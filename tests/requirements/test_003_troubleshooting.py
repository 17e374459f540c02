"""Document 003: its chapter on what goes wrong: full pools, deadlocks, locks."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event, text

from app.core.db import (
    AsyncBaseRepository,
    Database,
    DatabaseTimeout,
    PoolExhausted,
    SerializationFailure,
    UnitOfWork,
    get_db_context,
    retry_decorator,
    translate_errors,
)
from tests.staff import Badge


async def test_003_line_642_an_exhausted_pool_is_503_and_says_when_to_come_back(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=0.01)
    async with get_db_context(database) as holder, get_db_context(database) as other:
        await holder.execute(text("SELECT 1"))
        with pytest.raises(PoolExhausted) as refused, translate_errors():
            await other.execute(text("SELECT 1"))
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
    assert database.pool_status().checked_out == 0
    await database.close()


async def two_badges(database: Database) -> list[Any]:
    async with get_db_context(database) as db:
        return [badge.id for badge in await AsyncBaseRepository(Badge, db).bulk_create([{"rank": 0}] * 2)]


async def test_003_line_652_a_deadlock_ends_for_one_who_may_try_again(staff: Database) -> None:
    first, second = await two_badges(staff)
    met, losses = asyncio.Barrier(2), list[Exception]()

    @retry_decorator(max_retries=9, base=0)
    async def change(order: tuple[Any, Any]) -> None:
        try:
            async with staff.session() as session, UnitOfWork(session):
                repo = AsyncBaseRepository(Badge, session)
                await repo.update(order[0], {"rank": 1})
                if not losses:
                    await met.wait()
                await repo.update(order[1], {"rank": 2})
        except SerializationFailure as error:
            losses.append(error)
            raise

    await asyncio.gather(change((first, second)), change((second, first)))
    # Who lost may be back before the other one has woken up, and lose again.
    assert {getattr(error, "sqlstate", None) for error in losses} == {"40P01"}
    async with staff.session() as session:
        assert await AsyncBaseRepository(Badge, session).count({"rank": 0}) == 0


async def test_003_line_654_a_unit_of_work_writes_in_one_order(staff: Database) -> None:
    ids = await two_badges(staff)
    written: list[list[str]] = []

    def note(_c: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        if sql.startswith("UPDATE staff.badges"):
            written.append([str(row[-1]) for row in parameters])

    event.listen(staff.engine.sync_engine, "before_cursor_execute", note)
    for wanted in (ids, ids[::-1]):
        async with staff.session() as session, UnitOfWork(session):
            badges = {badge.id: badge for badge in await AsyncBaseRepository(Badge, session).get_all()}
            for identity in wanted:
                badges[identity].rank = (badges[identity].rank or 0) + 1
    event.remove(staff.engine.sync_engine, "before_cursor_execute", note)
    assert written == [sorted(map(str, ids))] * 2


async def test_003_line_656_a_lock_is_waited_for_only_so_long(staff: Database) -> None:
    (first, _) = await two_badges(staff)
    async with staff.session() as holder, staff.session() as other:
        await AsyncBaseRepository(Badge, holder).update(first, {"rank": 1})
        await other.execute(text("SET LOCAL lock_timeout = '1ms'"))
        with pytest.raises(DatabaseTimeout):
            await AsyncBaseRepository(Badge, other).update(first, {"rank": 2})
