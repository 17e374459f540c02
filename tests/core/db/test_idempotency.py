"""Kept results: one row per key, whoever comes first, and nothing without its transaction."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    Database,
    DatabaseReadOnly,
    StoredResult,
    find_result,
    keep_result,
    purge_results,
    session_scope,
)
from app.core.db._idempotency import IdempotencyResult
from app.core.errors import ConfigurationError
from tests.lock_waits import until_a_session_waits

KEY = "{u:7}:v1:i:orders:00ff"
BYTES = bytes(range(256))
TIMES = text("SELECT expires_at - created_at, created_at = now() FROM idempotency_results")

pytestmark = pytest.mark.usefixtures("clean_database")


async def let_expire(session: AsyncSession, *keys: str) -> None:
    past = IdempotencyResult.created_at - timedelta(seconds=1)
    await session.execute(
        update(IdempotencyResult).where(IdempotencyResult.key.in_(keys)).values(expires_at=past)
    )


class TestOneRow:
    async def test_what_was_kept_is_found_byte_for_byte(self, db_session: AsyncSession) -> None:
        assert await find_result(db_session, KEY) is None
        assert await keep_result(db_session, KEY, "abc", BYTES, 60)
        assert await find_result(db_session, KEY) == StoredResult("abc", BYTES)
        assert await find_result(db_session, KEY + "x") is None

    async def test_the_first_stays(self, db_session: AsyncSession) -> None:
        assert await keep_result(db_session, KEY, "abc", b"first", 60)
        assert not await keep_result(db_session, KEY, "abc", b"second", 60)
        assert await find_result(db_session, KEY) == StoredResult("abc", b"first")

    async def test_an_expired_one_is_not_found_and_is_replaced_whole(self, db_session: AsyncSession) -> None:
        await keep_result(db_session, KEY, "abc", b"old", 60)
        await let_expire(db_session, KEY)
        assert await find_result(db_session, KEY) is None
        assert await keep_result(db_session, KEY, "def", b"new", 60)
        assert await find_result(db_session, KEY) == StoredResult("def", b"new")

    async def test_it_expires_after_its_retention_by_the_servers_clock(
        self, db_session: AsyncSession
    ) -> None:
        await keep_result(db_session, KEY, "abc", b"", 86_400.5)
        row = (await db_session.execute(TIMES)).one()
        assert tuple(row) == (timedelta(days=1, seconds=0.5), True)

    @pytest.mark.parametrize("length", [200, 201])
    async def test_a_key_has_at_most_two_hundred_characters(
        self, db_session: AsyncSession, length: int
    ) -> None:
        if length == 200:
            assert await keep_result(db_session, "k" * length, "abc", b"", 60)
            return
        with pytest.raises(ValueError, match="at most 200 characters, not 201"):
            await keep_result(db_session, "k" * length, "abc", b"", 60)


class TestTransactions:
    async def test_a_rolled_back_transaction_keeps_nothing(self, database: Database) -> None:
        async with database.session() as session:
            assert await keep_result(session, KEY, "abc", b"x", 60)
            await session.rollback()
            assert await find_result(session, KEY) is None

    @pytest.mark.parametrize("first_commits", [True, False])
    async def test_the_second_waits_for_the_first_to_end(
        self, database: Database, *, first_commits: bool
    ) -> None:
        async with database.session() as first, database.session() as second:
            assert await keep_result(first, KEY, "abc", b"first", 60)
            other = asyncio.create_task(keep_result(second, KEY, "abc", b"second", 60))
            await until_a_session_waits(database)
            await (first.commit() if first_commits else first.rollback())
            assert await other is not first_commits
            await second.commit()
            kept = await find_result(first, KEY)
        assert kept == StoredResult("abc", b"first" if first_commits else b"second")

    async def test_errors_are_ours(self, database: Database) -> None:
        async with database.session() as session:
            await session.execute(text("SET TRANSACTION READ ONLY"))
            with pytest.raises(DatabaseReadOnly):
                await keep_result(session, KEY, "abc", b"", 60)


class TestPurge:
    async def test_only_expired_rows_go_and_no_more_than_asked(self, db_session: AsyncSession) -> None:
        for number in range(5):
            await keep_result(db_session, f"k{number}", "abc", b"", 60)
        await let_expire(db_session, "k0", "k1", "k2")
        assert await purge_results(db_session, limit=2) == 2
        assert await purge_results(db_session, limit=2) == 1
        assert await purge_results(db_session, limit=2) == 0
        assert await find_result(db_session, "k4") is not None

    async def test_two_at_once_share_the_work(self, database: Database) -> None:
        async with database.session() as first, database.session() as second:
            for number in range(4):
                await keep_result(first, f"k{number}", "abc", b"", 60)
            await let_expire(first, "k0", "k1", "k2", "k3")
            await first.commit()
            assert await purge_results(first, limit=2) == 2
            assert await purge_results(second, limit=4) == 2
            await first.commit()
            await second.commit()


class TestGuard:
    async def test_a_commit_of_the_handler_is_refused_with_the_fix(
        self, database: Database, entries: None
    ) -> None:
        with session_scope(database) as scope:
            scope.guard()
            async with scope.open() as db:
                await db.execute(text("INSERT INTO entries VALUES (1, 1, 'x')"))
                with pytest.raises(ConfigurationError, match="record and effect must share one transaction"):
                    await db.commit()
                assert await _count(database) == 0
                assert await keep_result(db, KEY, "abc", b"", 60)
                await scope.commit()
            assert await _count(database) == 1

    async def test_begin_blocks_are_refused_and_savepoints_are_not(
        self, database: Database, entries: None
    ) -> None:
        with session_scope(database) as scope:
            async with scope.open() as db:
                scope.guard()
                with pytest.raises(ConfigurationError):
                    async with db.begin():
                        raise AssertionError("the block runs")
                async with db.begin_nested():
                    await db.execute(text("INSERT INTO entries VALUES (1, 1, 'x')"))
                transaction = db.get_transaction()
                assert transaction is not None
                with pytest.raises(ConfigurationError):
                    await transaction.commit()
                await scope.commit()
        assert await _count(database) == 1

    async def test_a_commit_inside_a_savepoint_leaves_the_savepoint_alone(
        self, database: Database, entries: None
    ) -> None:
        with session_scope(database) as scope:
            scope.guard()
            async with scope.open() as db:
                nested = await db.begin_nested()
                await db.execute(text("INSERT INTO entries VALUES (1, 1, 'x')"))
                with pytest.raises(ConfigurationError):
                    await db.commit()
                await nested.rollback()
                await db.execute(text("INSERT INTO entries VALUES (2, 2, 'x')"))
                await scope.commit()
        assert await _count(database) == 1


class TestFirst:
    async def test_it_is_the_session_that_was_opened_first(self, database: Database) -> None:
        with session_scope(database) as scope:
            async with scope.open() as db, scope.open():
                assert scope.first() is db

    async def test_a_new_one_is_what_the_handler_gets(self, database: Database) -> None:
        with session_scope(database) as scope:
            looked = scope.first()
            assert await find_result(looked, KEY) is None
            async with scope.open() as db, scope.open() as other:
                assert db is looked is scope.first()
                assert other is not db
        assert database.pool_status().checked_out == 0

    @pytest.mark.parametrize("end", ["commit", "rollback", "nothing"])
    async def test_a_new_one_leaves_no_connection_behind(
        self, database: Database, entries: None, end: str
    ) -> None:
        with session_scope(database) as scope:
            session = scope.first()
            assert scope.first() is session
            await session.execute(text("INSERT INTO entries VALUES (1, 1, 'x')"))
            if end != "nothing":
                await getattr(scope, end)()
        assert database.pool_status().checked_out == 0
        assert await _count(database) == (end == "commit")


async def _count(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(text("SELECT count(*) FROM entries")) or 0)
