import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import text

from app.core.db import Database, after_commit, after_commit_idle, get_db_context


class Seen(list[str]):
    """What was done, in order; waits for what is under way."""

    def work(self, name: str, error: Exception | None = None) -> Callable[[], Awaitable[None]]:
        async def done() -> None:
            await asyncio.sleep(0)
            self.append(name)
            if error is not None:
                raise error

        return done

    async def all(self) -> list[str]:
        await after_commit_idle()
        return list(self)


async def test_runs_when_the_transaction_is_there_and_once(database: Database) -> None:
    seen = Seen()
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        after_commit(session, seen.work("a"))
        after_commit(session, seen.work("b"))
        assert await seen.all() == []
        await session.commit()
        assert await seen.all() == ["a", "b"]
        await session.execute(text("SELECT 1"))
        await session.commit()
    assert await seen.all() == ["a", "b"]


async def test_the_end_of_a_savepoint_is_no_commit(database: Database) -> None:
    seen = Seen()
    async with database.session() as session:
        async with session.begin_nested():
            await session.execute(text("SELECT 1"))
            after_commit(session, seen.work("a"))
        assert await seen.all() == []
        await session.rollback()
    assert await seen.all() == []


async def test_nothing_runs_after_a_rollback(database: Database) -> None:
    seen = Seen()
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        after_commit(session, seen.work("a"))
        await session.rollback()
    assert await seen.all() == []


async def test_an_error_is_nobody_elses(database: Database) -> None:
    seen = Seen()
    async with get_db_context(database) as session:
        await session.execute(text("SELECT 1"))
        after_commit(session, seen.work("a", RuntimeError("no")))
        after_commit(session, seen.work("b"))
    assert await seen.all() == ["a", "b"]


async def test_waiting_for_it_has_a_limit(database: Database) -> None:
    never, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        try:
            await never.wait()
        finally:
            ended.set()

    async with get_db_context(database) as session:
        await session.execute(text("SELECT 1"))
        after_commit(session, wait)
    await after_commit_idle(limit_s=0.01)
    async with asyncio.timeout(10):
        await ended.wait()
        await after_commit_idle()
    assert not never.is_set()
