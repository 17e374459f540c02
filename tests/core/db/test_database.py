import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.db import (
    ConstraintViolated,
    Database,
    DatabaseFault,
    DatabaseTimeout,
    DatabaseUnavailable,
    InvalidValue,
    PoolExhausted,
    get_db_context,
    translate,
)
from app.core.db._listeners import _operation
from app.core.errors import ConfigurationError
from app.core.observability import DatabaseEvent, Event, EventHub
from tests.cases import each_case
from tests.nursery import run_program
from tests.servers import PrivateServer

PID = text("SELECT pg_backend_pid()")


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the driver has seen what the server did."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the driver tells nobody
            await asyncio.sleep(0)


async def test_nothing_connects_before_the_first_statement(postgres_url: str) -> None:
    database = Database(postgres_url)
    async with database.session() as session:
        assert database.pool_status().open == 0
        await session.execute(text("SELECT 1"))
        status = database.pool_status()
    assert (status.open, status.checked_out, status.size, status.limit) == (1, 1, 5, 15)
    assert status.utilization_percent == pytest.approx(100 / 15)
    assert database.pool_status().checked_out == 0
    await database.close()
    assert database.pool_status().open == 0


async def test_server_settings_reach_the_server(postgres_url: str) -> None:
    database = Database(postgres_url, statement_timeout_s=1.5, application_name="ledger")
    async with database.session() as session:
        shown = [
            await session.scalar(text(f"SHOW {name}"))
            for name in ("application_name", "statement_timeout", "jit")
        ]
    assert shown == ["ledger", "1500ms", "off"]
    await database.close()


async def test_through_a_pooler_only_the_name_is_asked_of_the_server_and_the_driver_keeps_the_time(
    postgres_url: str,
) -> None:
    database = Database(postgres_url + "&pgbouncer=true", statement_timeout_s=0.05)
    async with database.session() as session:
        assert await session.scalar(text("SHOW statement_timeout")) == "0"
        assert await session.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 1
        with pytest.raises(DatabaseTimeout):
            await session.execute(text("SELECT pg_sleep(5)"))
    await database.ping()
    await database.close()


async def test_a_statement_that_runs_too_long_is_a_timeout_and_the_connection_stays_good(
    postgres_url: str,
) -> None:
    database = Database(postgres_url, statement_timeout_s=0.05, pool_size=1, max_overflow=0)
    async with database.session() as session:
        with pytest.raises(DBAPIError) as caught:
            await session.execute(text("SELECT pg_sleep(5)"))
    assert isinstance(translate(caught.value), DatabaseTimeout)
    await database.ping()
    await database.close()


async def test_a_full_pool_is_told_apart_from_an_outage(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=0.05)
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(PoolExhausted):
            await database.ping()
    await database.close()


async def test_a_connection_that_the_server_closed_while_idle_is_replaced_unseen(
    postgres_url: str, database: Database
) -> None:
    own = Database(postgres_url, pool_size=1, max_overflow=0)
    async with own.connect() as connection:
        pid = await connection.scalar(PID)
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
    await _terminate(database, pid)
    await until(driver.is_closed)
    async with own.connect() as connection:
        assert await connection.scalar(PID) != pid
    await own.close()


async def test_a_connection_that_breaks_under_a_statement_is_unavailable_and_the_next_session_works(
    postgres_url: str, database: Database
) -> None:
    own = Database(postgres_url, pool_size=1, max_overflow=0)
    async with own.session() as session:
        await _terminate(database, await session.scalar(PID))
        with pytest.raises(DBAPIError) as caught:
            await session.execute(text("SELECT 1"))
        assert isinstance(translate(caught.value), DatabaseUnavailable)
    await own.ping()
    assert own.pool_status().checked_out == 0
    await own.close()


async def test_a_cancelled_statement_gives_its_connection_back(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=5)
    async with database.session() as session:
        sleeping = asyncio.create_task(session.execute(text("SELECT pg_sleep(30)")))
        await until(lambda: database.pool_status().checked_out == 1)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
    async with asyncio.timeout(5):
        await database.ping()
    assert database.pool_status().checked_out == 0
    await database.close()


async def test_a_restarted_server_is_used_again_and_meanwhile_it_is_unavailable(
    private_postgres: PrivateServer,
) -> None:
    database = Database(private_postgres.url)
    await database.ping()
    private_postgres.terminate()
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    private_postgres.restart()
    await database.ping()
    await database.close()


async def test_swallowing_a_failed_statement_makes_the_commit_fail(entries: None, database: Database) -> None:
    async def swallow() -> None:
        async with get_db_context(database) as session:
            await session.execute(text("INSERT INTO entries VALUES (1, 1, 'kept?')"))
            with pytest.raises(DBAPIError):
                await session.execute(text("INSERT INTO entries VALUES (1, 1, 'again')"))

    with pytest.raises(DatabaseFault, match="nothing was kept"):
        await swallow()
    async with (
        database.session() as session
    ):  # the same connection: it must come back without the failed transaction
        assert await session.scalar(text("SELECT count(*) FROM entries")) == 0


async def test_a_failure_inside_a_savepoint_does_not_spoil_the_rest(
    entries: None, database: Database
) -> None:
    async with get_db_context(database) as session:
        await session.execute(text("INSERT INTO entries VALUES (1, 1, 'kept')"))
        with pytest.raises(DBAPIError):
            async with session.begin_nested():
                await session.execute(text("INSERT INTO entries VALUES (1, 1, 'again')"))
    async with database.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM entries")) == 1


async def test_a_value_that_the_driver_refused_does_not_spoil_the_transaction(
    entries: None, database: Database
) -> None:
    async with get_db_context(database) as session:
        await session.execute(text("INSERT INTO entries VALUES (1, 1, 'kept')"))
        with pytest.raises(DBAPIError):
            await session.execute(text("INSERT INTO entries VALUES (:id, 1, 'x')"), {"id": 2**40})
    async with database.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM entries")) == 1


async def test_each_statement_is_one_event_with_its_operation_and_error(postgres_url: str) -> None:
    hub, seen = EventHub(), list[Event]()
    hub.subscribe(DatabaseEvent, seen.append)
    database = Database(postgres_url, hub=hub)
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(DBAPIError):
            await session.execute(text("update no_such_table set x = 1"))
    events = [event for event in seen if isinstance(event, DatabaseEvent)]
    assert [(event.operation, event.error) for event in events] == [("select", None), ("update", "42P01")]
    assert all(0 < event.duration_s < 60 for event in events)
    await database.close()


class TestFetch:
    async def test_gives_the_rows_and_commits(self, entries: None, database: Database) -> None:
        insert = "INSERT INTO entries VALUES ($1, 1, $2) RETURNING id"
        assert [tuple(row) for row in await database.fetch(insert, 1, "kept")] == [(1,)]
        async with database.session() as session:
            assert await session.scalar(text("SELECT count(*) FROM entries")) == 1

    @pytest.mark.parametrize("option", ["", "&pgbouncer=true"])
    async def test_raises_our_errors_and_the_connection_stays_good(
        self, entries: None, postgres_url: str, option: str
    ) -> None:
        database = Database(postgres_url + option, pool_size=1, max_overflow=0)
        insert = "INSERT INTO entries VALUES ($1, 1, $2)"
        await database.fetch(insert, 1, "kept")
        pid = await database.fetch("SELECT pg_backend_pid()")
        with pytest.raises(ConstraintViolated):
            await database.fetch(insert, 1, "twice")
        with pytest.raises(InvalidValue):
            await database.fetch(insert, 2, "\x00")
        assert await database.fetch("SELECT pg_backend_pid()") == pid
        assert database.pool_status().checked_out == 0
        await database.close()

    async def test_of_a_server_that_is_away_is_unavailable(self) -> None:
        with pytest.raises(DatabaseUnavailable):
            await Database("postgresql+asyncpg://app:word@127.0.0.1:1/app").fetch("SELECT 1")

    async def test_cancelled_gives_its_place_back(self, postgres_url: str) -> None:
        database = Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=5)
        sleeping = asyncio.create_task(database.fetch("SELECT pg_sleep(30)"))
        await until(lambda: database.pool_status().checked_out == 1)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        async with asyncio.timeout(5):
            await database.fetch("SELECT 1")
        assert database.pool_status().checked_out == 0
        await database.close()

    async def test_is_one_event(self, postgres_url: str) -> None:
        hub, seen = EventHub(), list[DatabaseEvent]()
        hub.subscribe(DatabaseEvent, seen.append)
        database = Database(postgres_url, hub=hub)
        await database.fetch("SELECT 1")
        with pytest.raises(DatabaseFault):
            await database.fetch("update no_such_table set x = 1")
        assert [(event.operation, event.error) for event in seen] == [("select", None), ("update", "42P01")]
        assert all(0 < event.duration_s < 60 for event in seen)
        await database.close()


@each_case(
    ("sql", "operation"),
    [("  \n select 1", "select"), ("WITH x AS (...)", "with"), ("", "other"), ("/* a */ select", "other")],
)
def test_operations_are_a_small_set_of_words(sql: str, operation: str) -> None:
    assert _operation(sql) == operation


async def test_probe_names_the_version_and_the_time(database: Database) -> None:
    probe = await database.probe()
    assert int(probe.server_version.split(".")[0]) >= 15
    assert 0 < probe.latency_s < 60


@each_case(
    "options", [{"pool_size": 0}, {"max_overflow": -1}, {"pool_timeout_s": 0}, {"statement_timeout_s": -1}]
)
def test_options_out_of_range_are_refused_when_built(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        Database("postgresql://u:p@h/n", **options)  # type: ignore[arg-type]


def test_a_forked_child_makes_a_pool_of_its_own_and_leaves_the_parents_connection_alone(
    postgres_url: str,
) -> None:
    program = """
import asyncio, gc, os, sys
from sqlalchemy import text
from app.core.db import Database

async def pid(database):
    async with database.connect() as connection:
        return await connection.scalar(text("SELECT pg_backend_pid()"))

database = Database(sys.argv[1])
loop = asyncio.new_event_loop()
mine = loop.run_until_complete(pid(database))
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    asyncio.set_event_loop(None)
    theirs = asyncio.new_event_loop().run_until_complete(pid(database))
    gc.collect()  # a connection that is collected says goodbye to the server
    os.write(writer, str(theirs).encode())
    os._exit(0)
os.waitpid(child, 0)
print(mine, int(os.read(reader, 20)), loop.run_until_complete(pid(database)))
loop.run_until_complete(database.close())
"""
    done = run_program(program, postgres_url)
    assert done.code == 0, done.errors
    mine, theirs, afterwards = done.output.split()
    assert mine == afterwards
    assert mine != theirs


async def _terminate(database: Database, pid: int | None) -> None:
    async with database.connect() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
