"""Sessions that only read, on one server: what they refuse, what they cost, how they end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    AsyncBaseRepository,
    Database,
    DatabaseReadOnly,
    ReadOnlySession,
    ReadSession,
    SessionManager,
    UnitOfWork,
    WriteSession,
    after_commit,
    configure,
    get_db,
    get_db_context,
    get_read_db,
    get_read_db_context,
    session_scope,
    translate,
)
from app.core.errors import ConfigurationError
from tests.core.db.replicas import Bench
from tests.garbage import own_garbage
from tests.relay import Relay, relayed
from tests.staff import Person

dependency, reading = asynccontextmanager(get_db), asynccontextmanager(get_read_db)
READ_ONLY = text("SELECT current_setting('transaction_read_only')")
INSERT = text("INSERT INTO entries VALUES (1, 1, 'x')")


@pytest.fixture
def default(database: Database) -> Iterator[Database]:
    configure(database)
    yield database
    configure(None)


@pytest.fixture
async def person(staff: None, database: Database) -> AsyncIterator[str]:
    """A stored person's id."""
    async with get_db_context(database) as session:
        stored = Person(name="Ada")
        session.add(stored)
    yield stored.id
    async with get_db_context(database) as session:
        await session.delete(await session.get_one(Person, stored.id))


async def trips(relay: Relay, session: AsyncSession) -> list[bytes]:
    """What a transaction of one statement sends, when the connection and the statement are known."""
    for _ in range(2):
        relay.sent.clear()
        await session.scalar(text("SELECT 1"))
        await session.commit()
    return relay.sent


class TestReading:
    async def test_its_transactions_are_read_only_on_the_server(self, database: Database) -> None:
        async with get_read_db_context(database) as session:
            assert await session.scalar(READ_ONLY) == "on"
            await session.rollback()
            assert await session.scalar(READ_ONLY) == "on"
        async with get_db_context(database) as session:
            assert await session.scalar(READ_ONLY) == "off"

    async def test_the_connection_it_gives_back_writes_again(self, entries: None, postgres_url: str) -> None:
        own = Database(postgres_url, pool_size=1, max_overflow=0)
        async with get_read_db_context(own) as session:
            reader = await session.scalar(text("SELECT pg_backend_pid()"))
        async with get_db_context(own) as session:
            assert await session.scalar(text("SELECT pg_backend_pid()")) == reader
            await session.execute(INSERT)
        await own.close()

    async def test_it_costs_no_round_trip_more_than_a_session_that_writes(self, postgres_url: str) -> None:
        async with relayed(postgres_url) as relay:
            own = Database(relay.url, pool_size=1, max_overflow=0)
            async with own.session() as session:
                assert len(await trips(relay, session)) == 3
            async with own.read_session() as session:
                begin, _, commit = await trips(relay, session)
            assert b"READ ONLY;" in begin
            assert b"COMMIT;" in commit
            await own.close()

    async def test_a_snapshot_for_the_whole_transaction_can_be_had(self, database: Database) -> None:
        async with get_read_db_context(database) as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            level = await session.scalar(text("SELECT current_setting('transaction_isolation')"))
            assert (level, await session.scalar(READ_ONLY)) == ("repeatable read", "on")

    async def test_a_repository_reads_with_it(self, person: str, database: Database) -> None:
        async with get_read_db_context(database) as session:
            found = await AsyncBaseRepository(Person, session).get_by_id(person)
            assert found is not None
            assert found.name == "Ada"


class TestRefusals:
    @pytest.mark.parametrize("act", ["add", "delete", "merge"])
    async def test_a_change_is_refused_before_anything_is_sent(self, act: str, database: Database) -> None:
        async with database.read_session() as session:
            with pytest.raises(ReadOnlySession, match="only reads"):
                await session.run_sync(lambda sync: getattr(sync, act)(Person(name="Eve")))
            assert not session.in_transaction()

    async def test_so_are_many(self, database: Database) -> None:
        async with database.read_session() as session:
            with pytest.raises(ReadOnlySession):
                session.add_all([Person(name="Eve")])
            for name in ("merge_all", "delete_all"):
                with pytest.raises(ReadOnlySession):
                    await getattr(session, name)([Person(name="Eve")])
            for name in ("bulk_save_objects", "bulk_insert_mappings", "bulk_update_mappings"):
                with pytest.raises(ReadOnlySession):
                    getattr(session.sync_session, name)([])
            assert not session.in_transaction()

    @pytest.mark.parametrize("act", ["flush", "commit"])
    async def test_a_changed_object_is_refused_by_name(
        self, act: str, person: str, database: Database
    ) -> None:
        async with database.read_session() as session:
            (await session.get_one(Person, person)).name = "Eve"
            with pytest.raises(ReadOnlySession, match="Person was changed"):
                await getattr(session, act)()
        async with database.read_session() as session:
            assert (await session.get_one(Person, person)).name == "Ada"

    async def test_also_by_the_flush_before_a_query(self, person: str, database: Database) -> None:
        async with database.read_session() as session:
            (await session.get_one(Person, person)).name = "Eve"
            with pytest.raises(ReadOnlySession):
                await session.scalars(select(Person))

    async def test_and_at_the_end_of_a_block(self, person: str, database: Database) -> None:
        with pytest.raises(ReadOnlySession):
            async with get_read_db_context(database) as session:
                (await session.get_one(Person, person)).name = "Eve"

    async def test_an_object_that_is_as_it_was_is_no_change(self, person: str, database: Database) -> None:
        async with get_read_db_context(database) as session:
            found = await session.get_one(Person, person)
            found.name = "Eve"
            found.name = "Ada"
            await session.commit()
            assert found.name == "Ada"

    @pytest.mark.parametrize(
        "statement", [INSERT, text("SELECT * FROM entries FOR UPDATE"), text("CREATE TABLE more (id int)")]
    )
    async def test_the_server_refuses_what_is_written_by_statement(
        self, statement: Any, entries: None, database: Database
    ) -> None:
        async with get_read_db_context(database) as session:
            with pytest.raises(DBAPIError) as caught:
                await session.execute(statement)
            assert isinstance(translate(caught.value), DatabaseReadOnly)

    async def test_a_repository_does_not_write_with_it(self, person: str, database: Database) -> None:
        async with get_read_db_context(database) as session:
            people = AsyncBaseRepository(Person, session)
            with pytest.raises(ReadOnlySession):
                await people.create({"name": "Eve"})
        async with get_read_db_context(database) as session:
            people = AsyncBaseRepository(Person, session)
            with pytest.raises(DatabaseReadOnly):
                await people.for_update({"id": person})

    async def test_nothing_waits_for_a_commit_that_will_not_be(self, database: Database) -> None:
        async def tell() -> None: ...

        async with get_read_db_context(database) as session:
            with pytest.raises(ReadOnlySession):
                after_commit(session, tell)

    async def test_a_unit_of_work_on_it_reads(self, person: str, database: Database) -> None:
        async with get_read_db_context(database) as session, UnitOfWork(session):
            assert await session.get(Person, person) is not None


class TestInAScope:
    async def test_it_reads_what_is_committed_and_not_what_the_other_has_written(
        self, entries: None, database: Database
    ) -> None:
        with session_scope(database) as scope:
            async with dependency() as db, reading() as reader:
                await db.execute(INSERT)
                assert await reader.scalar(text("SELECT count(*) FROM entries")) == 0
                await scope.commit()
                assert await reader.scalar(text("SELECT count(*) FROM entries")) == 1

    async def test_the_scope_s_end_gives_its_connection_back_and_leaves_its_objects_readable(
        self, person: str, postgres_url: str
    ) -> None:
        own = Database(postgres_url)
        with session_scope(own) as scope:
            async with reading() as reader:
                found = await reader.get_one(Person, person)
                await scope.commit()
                assert own.pool_status().checked_out == 0
                assert found.name == "Ada"
                assert await reader.scalar(READ_ONLY) == "on"
        assert own.pool_status().checked_out == 0
        await own.close()

    async def test_a_changed_object_undoes_what_the_others_wrote(
        self, person: str, entries: None, database: Database
    ) -> None:
        with session_scope(database) as scope:
            async with dependency() as db, reading() as reader:
                await db.execute(INSERT)
                (await reader.get_one(Person, person)).name = "Eve"
                with pytest.raises(ReadOnlySession):
                    await scope.commit()
        async with get_read_db_context(database) as session:
            assert await session.scalar(text("SELECT count(*) FROM entries")) == 0

    async def test_a_statement_that_failed_in_it_does_not_fail_the_request(
        self, entries: None, database: Database
    ) -> None:
        with session_scope(database) as scope:
            async with dependency() as db, reading() as reader:
                await db.execute(INSERT)
                with pytest.raises(DBAPIError):
                    await reader.scalar(text("SELECT 1 / 0"))
                await scope.commit()
        async with get_read_db_context(database) as session:
            assert await session.scalar(text("SELECT count(*) FROM entries")) == 1

    async def test_nor_does_its_broken_connection(self, entries: None, database: Database) -> None:
        with session_scope(database) as scope:
            async with dependency() as db, reading() as reader:
                pid = await reader.scalar(text("SELECT pg_backend_pid()"))
                await db.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
                await db.execute(INSERT)
                await scope.commit()
        async with get_read_db_context(database) as session:
            assert await session.scalar(text("SELECT count(*) FROM entries")) == 1

    async def test_what_the_request_records_goes_into_a_session_that_writes(
        self, entries: None, database: Database
    ) -> None:
        with session_scope(database) as scope:
            async with reading() as reader:
                await reader.scalar(READ_ONLY)
                scope.guard()
                await scope.first().execute(INSERT)
                await reader.commit()  # of no consequence, and so not refused
                await scope.commit()
        async with get_read_db_context(database) as session:
            assert await session.scalar(text("SELECT count(*) FROM entries")) == 1

    async def test_an_attempt_that_failed_can_be_repeated_on_it(self, database: Database) -> None:
        with session_scope(database) as scope:
            async with reading() as reader:
                await reader.scalar(READ_ONLY)
                point = scope.savepoint()
                with pytest.raises(DBAPIError):
                    async with point:
                        await reader.scalar(text("SELECT 1 / 0"))
                assert point.is_repeatable
                assert await reader.scalar(text("SELECT 1")) == 1

    async def test_a_cancelled_end_keeps_no_connection(self, postgres_url: str) -> None:
        own = Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=5)
        with session_scope(own) as scope:
            async with reading() as reader:
                await reader.scalar(READ_ONLY)
                ending = asyncio.create_task(scope.commit())
                await asyncio.sleep(0)
                ending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await ending
        await own.ping()
        assert own.pool_status().checked_out == 0
        await own.close()

    async def test_without_a_scope_it_names_the_way_out(self) -> None:
        with pytest.raises(ConfigurationError, match=r"get_read_db_context\(\)"):
            async with reading():
                pass

    async def test_nothing_of_it_is_left_to_the_garbage_collector(self, bench: Bench) -> None:
        async def request() -> None:
            with session_scope(bench.database) as scope:
                async with reading() as reader:
                    await reader.scalar(READ_ONLY)
                    await scope.commit()

        await request()
        with own_garbage() as collect:
            for _ in range(20):
                await request()
            assert collect() < 20


class TestTypes:
    async def test_each_way_gives_its_own_kind(self, default: Database) -> None:
        async with get_db_context() as writing, get_read_db_context() as reader:
            assert (type(writing), type(reader)) == (WriteSession, ReadSession)
        async with SessionManager("nightly") as writing, SessionManager("report", read_only=True) as reader:
            assert (type(writing), type(reader)) == (WriteSession, ReadSession)
            assert reader.info["context"] == "report"
        with session_scope(default) as scope:
            assert type(scope.first()) is WriteSession

    async def test_mypy_tells_them_apart(self, default: Database) -> None:
        """The comments are the test: in ``make check`` each is an error as soon as the line is none."""

        async def store(session: WriteSession) -> str:
            return type(session).__name__

        async def look(session: AsyncSession) -> str:
            return type(session).__name__

        async with get_db_context() as writing, get_read_db_context() as reader:
            assert await store(writing) == "WriteSession"
            assert await store(reader) == "ReadSession"  # type: ignore[arg-type]
            assert [await look(writing), await look(reader)] == ["WriteSession", "ReadSession"]
        async with SessionManager(read_only=True) as reader:
            await store(reader)  # type: ignore[arg-type]
