"""A hit of the query cache against the query itself, a list of 100 rows: the client's processor time, and round trips."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from sqlalchemy import event, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database, cached_db_query, cached_query
from app.core.valkey import Cache, ValkeyClient, configure_cache
from bench.bounds import Bound
from bench.people import Person, PersonRead, fill_table
from bench.turns import Cost, Way, in_turns

ROWS, LIMIT = 2000, 100
SQL = "SELECT name, email, role, is_active FROM persons ORDER BY created_at LIMIT 100"
OBJECTS, SHAPED, DICTS = "objects", "schema", "dicts"
BOUNDS = (
    Bound(f"{OBJECTS}: hit", f"{OBJECTS}: query", "cpu"),
    Bound(f"{SHAPED}: hit", f"{SHAPED}: query", "cpu", most=1.0),
    Bound(f"{DICTS}: hit", f"{DICTS}: query", "cpu", most=1.0),
    Bound(f"{OBJECTS}: hit", f"{OBJECTS}: query", "wall"),
    Bound(f"{SHAPED}: hit", f"{SHAPED}: query", "wall"),
    Bound(f"{DICTS}: hit", f"{DICTS}: query", "wall"),
)


async def newest(db: AsyncSession) -> Sequence[Person]:
    return (await db.scalars(select(Person).order_by(Person.created_at.desc()).limit(LIMIT))).all()


async def shaped(db: AsyncSession) -> list[PersonRead]:
    return [PersonRead.model_validate(person) for person in await newest(db)]


async def dicts(db: AsyncSession) -> list[dict[str, Any]]:
    return [dict(found) for found in (await db.execute(text(SQL))).mappings()]


async def cached_dicts(db: AsyncSession) -> list[dict[str, Any]]:
    return await cached_db_query(db, SQL, scope="public")


@cached_query(scope="public")
async def cached_newest(db: AsyncSession) -> Sequence[Person]:
    return await newest(db)


@cached_query(scope="public", model=list[PersonRead])
async def cached_shaped(db: AsyncSession) -> Sequence[Person]:
    return await newest(db)


QUERIES = {
    f"{OBJECTS}: query": newest,
    f"{OBJECTS}: hit": cached_newest,
    f"{SHAPED}: query": shaped,
    f"{SHAPED}: hit": cached_shaped,
    f"{DICTS}: query": dicts,
    f"{DICTS}: hit": cached_dicts,
}


async def measure(
    database: Database, valkey: str, rounds: int, *, operations: int = 60
) -> tuple[dict[str, list[Cost]], dict[str, dict[str, float]]]:
    """Costs for one call, each in a session of its own; and how often one asks PostgreSQL and Valkey."""
    await fill_table(database, ROWS)
    async with _configured_cache(valkey) as store:
        ways = {name: _way(database, query) for name, query in QUERIES.items()}
        costs: dict[str, list[Cost]] = {}
        for name in (OBJECTS, SHAPED, DICTS):
            pair = {way: ways[way] for way in (f"{name}: query", f"{name}: hit")}
            costs |= await in_turns(pair, rounds=rounds, operations=operations)
        return costs, {name: await _trips(database, store, way) for name, way in ways.items()}


@contextlib.asynccontextmanager
async def _configured_cache(url: str) -> AsyncIterator[ValkeyClient]:
    store = ValkeyClient(url, timeout_s=1.0)
    cache = Cache(store)
    configure_cache(cache)
    try:
        yield store
    finally:
        configure_cache(None)
        await cache.close()
        await store.close()


def _way(database: Database, query: Any) -> Way:
    async def ask(_: int) -> None:
        async with database.session() as session:
            assert len(await query(session)) == LIMIT

    return ask


async def _trips(database: Database, store: ValkeyClient, way: Way, operations: int = 20) -> dict[str, float]:
    before = await _reads(store)
    with _counted(database) as asked:
        for number in range(operations):
            await way(number)
    # The question itself is one too.
    reads = await _reads(store) - before - 1
    return {"postgres": len(asked) / operations, "valkey": reads / operations}


async def _reads(store: ValkeyClient) -> int:
    """How often the server has read from a connection: calls that go out together are read together."""
    stats = (await store.execute("INFO", "stats")).decode()
    return int(stats.partition("total_reads_processed:")[2].partition("\r\n")[0])


@contextlib.contextmanager
def _counted(database: Database) -> Iterator[list[None]]:
    """Statements, and the BEGIN and ROLLBACK around them: each is a way there and back."""
    asked: list[None] = []

    def note(*_: Any) -> None:
        asked.append(None)

    sent = ("begin", "before_cursor_execute", "commit", "rollback")
    for each in sent:
        event.listen(database.engine.sync_engine, each, note)
    yield asked
    for each in sent:
        event.remove(database.engine.sync_engine, each, note)
