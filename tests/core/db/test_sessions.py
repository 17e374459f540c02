import asyncio
import inspect
from collections.abc import Iterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    ConstraintViolated,
    Database,
    DatabaseReadOnly,
    SessionManager,
    configure,
    get_db,
    get_db_context,
    get_db_url,
    session_scope,
    translate,
)
from app.core.errors import ConfigurationError
from app.core.observability import DatabaseEvent, Event, EventHub

dependency = asynccontextmanager(get_db)


def insert(number: int, parent: int | None = None) -> TextClause:
    return text(f"INSERT INTO entries VALUES ({number}, {parent or number}, 'x')")


async def count(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(text("SELECT count(*) FROM entries")) or 0)


@pytest.fixture
def default(database: Database) -> Iterator[Database]:
    configure(database)
    yield database
    configure(None)


class TestScope:
    async def test_committed_once_at_the_edge_and_seen_by_nobody_before(
        self, entries: None, database: Database
    ) -> None:
        with session_scope(database) as scope:
            async with dependency() as db:
                await db.execute(insert(1))
                assert scope.has_work
                assert await count(database) == 0
                await scope.commit()
                assert await count(database) == 1
                assert not scope.has_work

    async def test_rolled_back_on_request(self, entries: None, database: Database) -> None:
        with session_scope(database) as scope:
            async with dependency() as db:
                await db.execute(insert(1))
                await scope.rollback()
                await scope.commit()
        assert await count(database) == 0

    async def test_closing_without_a_commit_keeps_nothing(self, entries: None, database: Database) -> None:
        with session_scope(database):
            async with dependency() as db:
                await db.execute(insert(1))
        assert await count(database) == 0
        assert database.pool_status().checked_out == 0

    async def test_an_error_thrown_into_the_dependency_passes_and_keeps_nothing(
        self, entries: None, database: Database
    ) -> None:
        async def fail() -> None:
            async with dependency() as db:
                await db.execute(insert(1))
                raise ZeroDivisionError

        with session_scope(database), pytest.raises(ZeroDivisionError):
            await fail()
        assert await count(database) == 0

    async def test_explicit_commit_and_what_follows_are_both_kept(
        self, entries: None, database: Database
    ) -> None:
        with session_scope(database) as scope:
            async with dependency() as db:
                await db.execute(insert(1))
                await db.commit()
                assert await count(database) == 1
                await db.execute(insert(2))
                await scope.commit()
        assert await count(database) == 2

    async def test_begin_block_and_savepoint_work_in_it(self, entries: None, database: Database) -> None:
        with session_scope(database) as scope:
            async with dependency() as db:
                async with db.begin():
                    await db.execute(insert(1))
                with pytest.raises(DBAPIError):
                    async with db.begin_nested():
                        await db.execute(insert(1))
                await db.execute(insert(2))
                await scope.commit()
        assert await count(database) == 2

    async def test_two_sessions_are_both_committed(self, entries: None, database: Database) -> None:
        with session_scope(database) as scope:
            async with dependency() as first, dependency() as second:
                await first.execute(insert(1))
                await second.execute(insert(2))
                await scope.commit()
        assert await count(database) == 2

    async def test_a_session_closed_early_is_skipped(self, entries: None, database: Database) -> None:
        with session_scope(database) as scope:
            async with dependency() as first:
                async with dependency() as second:
                    await second.execute(insert(2))
                await first.execute(insert(1))
                await scope.commit()
        assert await count(database) == 1

    async def test_a_commit_that_fails_raises_ours_and_keeps_nothing(
        self, entries: None, database: Database
    ) -> None:
        with session_scope(database) as scope:
            async with dependency() as db:
                await db.execute(insert(1))
                await db.execute(insert(2, parent=99))
                with pytest.raises(ConstraintViolated) as caught:
                    await scope.commit()
        assert caught.value.constraint == "fk_entries_parent"
        assert await count(database) == 0
        assert database.pool_status().checked_out == 0

    async def test_when_one_commit_fails_the_sessions_after_it_are_rolled_back(
        self, entries: None, database: Database
    ) -> None:
        with session_scope(database) as scope:
            async with dependency() as first, dependency() as second:
                await first.execute(insert(1, parent=99))
                await second.execute(insert(2))
                with pytest.raises(ConstraintViolated):
                    await scope.commit()
        assert await count(database) == 0

    async def test_a_cancelled_commit_keeps_no_connection(self, entries: None, postgres_url: str) -> None:
        own = Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=5)
        with session_scope(own) as scope:
            async with dependency() as db:
                await db.execute(insert(1))
                committing = asyncio.create_task(scope.commit())
                await asyncio.sleep(0)
                committing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await committing
        async with asyncio.timeout(5):
            await own.ping()
        assert own.pool_status().checked_out == 0
        await own.close()

    async def test_an_untouched_session_takes_no_connection_and_sends_nothing(
        self, postgres_url: str
    ) -> None:
        hub, seen = EventHub(), list[Event]()
        hub.subscribe(DatabaseEvent, seen.append)
        own = Database(postgres_url, hub=hub)
        with session_scope(own) as scope:
            async with dependency():
                await scope.commit()
        assert own.pool_status().open == 0
        assert seen == []

    async def test_after_the_commit_it_reads_but_refuses_to_write(
        self, entries: None, database: Database
    ) -> None:
        with session_scope(database) as scope:
            async with dependency() as db:
                await db.execute(insert(1))
                await scope.commit()
                assert await db.scalar(text("SELECT count(*) FROM entries")) == 1
                with pytest.raises(DBAPIError) as caught:
                    await db.execute(insert(2))
                assert isinstance(translate(caught.value), DatabaseReadOnly)
            async with dependency() as late:
                with pytest.raises(DBAPIError):
                    await late.execute(insert(3))
        assert await count(database) == 1

    async def test_a_closed_session_stays_closed(self, database: Database) -> None:
        with session_scope(database):
            async with dependency() as db:
                pass
            with pytest.raises(Exception, match="closed"):
                await db.execute(text("SELECT 1"))

    async def test_scopes_of_concurrent_requests_do_not_mix(self, entries: None, database: Database) -> None:
        async def request(number: int, *, keep: bool) -> None:
            with session_scope(database) as scope:
                async with dependency() as db:
                    await db.execute(insert(number))
                    await (scope.commit() if keep else scope.rollback())

        await asyncio.gather(*(request(number, keep=number % 2 == 0) for number in range(1, 11)))
        assert await count(database) == 5

    async def test_without_a_scope_the_dependency_names_the_way_out(self) -> None:
        with pytest.raises(ConfigurationError, match="APIRouter"):
            async with dependency():
                pass


class TestContext:
    async def test_committed_at_the_end_of_the_block(self, entries: None, default: Database) -> None:
        async with get_db_context() as session:
            await session.execute(insert(1))
        assert await count(default) == 1

    async def test_rolled_back_on_an_error(self, entries: None, default: Database) -> None:
        async def fail() -> None:
            async with get_db_context() as session:
                await session.execute(insert(1))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await count(default) == 0

    async def test_a_refused_commit_raises_ours(self, entries: None, default: Database) -> None:
        with pytest.raises(ConstraintViolated):
            async with get_db_context() as session:
                await session.execute(insert(1, parent=99))

    async def test_manager_commits_and_names_its_purpose(self, entries: None, default: Database) -> None:
        manager = SessionManager(context="nightly")
        async with manager as session:
            assert session.info["context"] == "nightly"
            await session.execute(insert(1))
            with pytest.raises(ConfigurationError):
                async with manager:
                    pass
        assert await count(default) == 1
        async with manager as session:
            assert isinstance(session, AsyncSession)

    async def test_one_that_could_not_begin_may_be_used_later(self, database: Database) -> None:
        manager = SessionManager()
        configure(None)
        with pytest.raises(ConfigurationError, match="No database"):
            await manager.__aenter__()
        configure(database)
        try:
            async with manager as session:
                assert await session.scalar(text("SELECT 1")) == 1
        finally:
            configure(None)

    async def test_a_given_database_is_used_instead_of_the_default(
        self, entries: None, database: Database
    ) -> None:
        async with SessionManager(database=database) as session:
            await session.execute(insert(1))
        assert await count(database) == 1

    async def test_without_a_configured_database_the_error_says_who_configures_it(self) -> None:
        with pytest.raises(ConfigurationError, match="configure"):
            async with get_db_context():
                pass
        with pytest.raises(ConfigurationError, match="configure"):
            get_db_url()

    async def test_url_of_the_default_is_usable_by_other_tools(self, default: Database) -> None:
        other, names = Database(get_db_url()), []
        for each in (default, other):
            async with each.connect() as connection:
                names.append(await connection.scalar(text("SELECT current_database()")))
        await other.close()
        assert names[0] == names[1]


def test_get_db_is_a_plain_generator_for_any_framework() -> None:
    assert inspect.isasyncgenfunction(get_db)
    assert not inspect.signature(get_db).parameters
