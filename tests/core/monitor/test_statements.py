from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import pytest

from app.core.db import Database
from app.core.monitor import (
    MonitorDenied,
    MonitorServer,
    NotSupported,
    StatementDeltas,
    hidden_statements,
    query_origin,
    redacted,
    statement_deltas,
    statement_snapshot,
    statement_texts,
)
from tests.counting import counting_database

Work = Callable[[], Awaitable[object]]


@pytest.fixture(scope="module")
async def counted(servers: Mapping[str, str], worker_number: int) -> AsyncIterator[Database]:
    """The extension is in a schema of its own, as it is at Supabase."""
    name = f"counted_{worker_number}"
    async with counting_database(servers, name, schema='"Odd extensions"') as database:
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("CREATE TABLE things (id int PRIMARY KEY, name text)")
            await connection.exec_driver_sql('GRANT USAGE ON SCHEMA "Odd extensions" TO PUBLIC')
        yield database


@pytest.fixture(scope="module")
async def watched(counted: Database) -> AsyncIterator[MonitorServer]:
    server = MonitorServer(counted)
    yield server
    await server.close()


@pytest.fixture
async def connection(counted: Database) -> AsyncIterator[asyncpg.Connection]:
    """The driver's own, so that nothing but the test's statements is sent."""
    async with counted.engine.connect() as borrowed:
        yield (await borrowed.get_raw_connection()).driver_connection


async def used_by(server: MonitorServer, work: Work) -> tuple[StatementDeltas, dict[str, int]]:
    """What ``work`` cost, and the ids of its statements by their redacted text; again if the server threw entries away meanwhile."""
    while True:
        before = await server.put(statement_snapshot)
        await work()
        after = await server.put(statement_snapshot)
        found = statement_deltas(before, after)
        if after.dealloc == before.dealloc:
            break
    async with server.ask() as asked:
        texts = await statement_texts(asked, {key.queryid for key in found.uses})
    return found, {redacted(text.text): queryid for queryid, text in texts.items()}


async def test_calls_and_rows_are_counted_exactly_and_only_those_of_this_database(
    watched: MonitorServer, connection: asyncpg.Connection, database: Database
) -> None:
    await connection.execute("DELETE FROM things")

    async def work() -> None:
        for number in range(5):
            await connection.execute("INSERT INTO things VALUES ($1, 'a') ON CONFLICT DO NOTHING", number)
        for _ in range(3):
            await connection.fetch("SELECT id, name FROM things WHERE id < 4 ORDER BY id")
        await database.fetch("SELECT 1 AS elsewhere")

    found, ids = await used_by(watched, work)
    by_id = {key.queryid: use for key, use in found.uses.items()}
    insert = by_id[ids["INSERT INTO things VALUES (...) ON CONFLICT DO NOTHING"]]
    select = by_id[ids["SELECT id, name FROM things WHERE id < ? ORDER BY id"]]
    assert (insert.calls, insert.rows) == (5, 5)
    assert insert.wal_bytes > 0
    assert (select.calls, select.rows, select.wal_bytes) == (3, 12, 0)
    assert select.hit_blocks >= 3
    assert 0 < select.exec_us < 60_000_000
    assert select.max_us * 3 >= select.exec_us - 3
    assert found.total.calls >= 8
    assert not any("elsewhere" in text for text in ids)
    again, _ = await used_by(
        watched, lambda: connection.fetch("SELECT id, name FROM things WHERE id < 2 ORDER BY id")
    )
    use = {key.queryid: use for key, use in again.uses.items()}[
        ids["SELECT id, name FROM things WHERE id < ? ORDER BY id"]
    ]
    assert (use.calls, use.rows) == (1, 2)


async def test_a_reset_by_somebody_else_begins_anew_and_is_told(
    watched: MonitorServer, connection: asyncpg.Connection
) -> None:
    statement = "SELECT name FROM things WHERE name = 'of the reset'"
    for _ in range(4):
        await connection.fetch(statement)

    async def work() -> None:
        await connection.execute(
            'SELECT "Odd extensions".pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()'
        )
        await connection.fetch(statement)
        await connection.fetch(statement)

    found, ids = await used_by(watched, work)
    queryid = ids["SELECT name FROM things WHERE name = ?"]
    (use,) = [use for key, use in found.uses.items() if key.queryid == queryid]
    assert use.calls == 2
    assert {key.queryid for key in found.restarted} >= {queryid}
    assert not found.is_complete


async def test_the_first_text_tells_its_origin(
    watched: MonitorServer, connection: asyncpg.Connection
) -> None:
    await connection.fetch("SELECT id FROM things /*policy='things_get',route='%2Fthings%2F%7Bid%7D'*/")
    before = await watched.put(statement_snapshot)
    async with watched.ask() as asked:
        texts = await statement_texts(asked, [key.queryid for key in before.rows])
    origins = {redacted(text.text): query_origin(text.ending) for text in texts.values()}
    origin = origins["SELECT id FROM things"]
    assert origin is not None
    assert (origin.route, origin.policy) == ("/things/{id}", "things_get")


async def test_statements_of_other_roles_are_counted_when_they_may_not_be_seen(
    watched: MonitorServer, connection: asyncpg.Connection
) -> None:
    await connection.fetch("SELECT name FROM things")
    async with watched.ask() as asked:
        await asked.execute("SET LOCAL ROLE pg_signal_backend")
        found = await statement_snapshot(asked)
        assert await hidden_statements(asked) == found.hidden
        texts = await statement_texts(asked, [key.queryid for key in found.rows])
    assert found.hidden > 0
    assert not any("things" in text.text for text in texts.values())
    await connection.execute('REVOKE USAGE ON SCHEMA "Odd extensions" FROM PUBLIC')
    with pytest.raises(MonitorDenied):
        await watched.put(_as_somebody)


async def _as_somebody(asked: Any) -> object:
    await asked.execute("SET LOCAL ROLE pg_signal_backend")
    return await statement_snapshot(asked)


async def test_without_the_extension_it_is_not_supported(server: MonitorServer) -> None:
    with pytest.raises(NotSupported, match="not installed"):
        await server.put(statement_snapshot)
