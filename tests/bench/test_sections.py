"""Every section measures what its bounds speak of, and compares equal work; on real servers, with few rows."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, func, select

from app.core.db import Database
from bench import bulk, keyset, query_cache, repositories
from bench.bounds import Bound
from bench.people import Person, fill_table, make_table
from bench.turns import Rounds
from tests.servers import PrivateServer


@pytest.fixture
async def people(empty_postgres_url: str) -> AsyncIterator[Database]:
    """A database with the benchmark's table."""
    database = Database(empty_postgres_url, pool_size=1)
    await make_table(database)
    yield database
    await database.close()


def names(bounds: tuple[Bound, ...]) -> set[str]:
    return {name for bound in bounds for name in bound[:2]}


def lengths(rounds: Rounds) -> set[int]:
    return {len(taken) for taken in rounds.values()}


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The verb of each statement that is sent while the block runs."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement.split(maxsplit=1)[0])

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


@pytest.mark.parametrize("name", repositories.OPERATIONS)
async def test_a_repository_sends_as_many_statements_as_are_sent_by_hand(people: Database, name: str) -> None:
    await fill_table(people, repositories.ROWS)
    async with people.session() as session:
        ids = list(await session.scalars(select(Person.id)))
    with statements(people) as of_ours:
        await repositories.REPOSITORY[name](people.session, ids)(3)
    with statements(people) as by_hand:
        await repositories.BY_HAND[name](people.session, ids)(3)
    expected = {"get": ["SELECT"], "list": ["SELECT"] * 2, "find": ["SELECT"], "create": ["INSERT"]}
    assert of_ours == by_hand == expected[name]


async def test_single_operations(people: Database) -> None:
    costs = await repositories.measure(people, 2, operations=dict.fromkeys(repositories.OPERATIONS, 1))
    assert names(repositories.BOUNDS) == set(costs)
    assert lengths(costs) == {2}


async def test_many_rows(people: Database) -> None:
    costs = await bulk.measure(people, 2, bulk=30, sample=5)
    assert names(bulk.BOUNDS) == set(costs)
    assert lengths(costs) == {2}
    async with people.session() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 5


async def test_pages(people: Database) -> None:
    costs = await keyset.measure(people, 1, deep=3, operations=1)
    assert names(keyset.BOUNDS) == set(costs)


async def test_a_hit_is_one_round_trip_and_none_to_the_database(
    people: Database, private_valkey: PrivateServer
) -> None:
    costs, trips = await query_cache.measure(people, private_valkey.url, 1, operations=1)
    assert names(query_cache.BOUNDS) == set(costs) == set(trips)
    for name, asked in trips.items():
        is_hit = name.endswith("hit")
        assert asked == {"postgres": 0 if is_hit else 3, "valkey": 1 if is_hit else 0}, name
