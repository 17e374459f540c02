"""Many rows: every way to insert them, by the clock on the wall, which has the server's work in it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from uuid_utils.compat import uuid7

from app.core.db import AsyncBaseRepository, BulkOperations, Database, get_db_context
from bench.bounds import Bound
from bench.people import Person, empty_table, row
from bench.turns import Cost, cost

BULK, SAMPLE = 100_000, 5_000
Row = dict[str, Any]
BOUNDS = (
    Bound("row by row", "bulk_create", "wall", least=10.0),
    Bound("row by row", "bulk_insert", "wall", least=10.0),
    Bound("bulk_create", "COPY", "wall"),
)


async def _row_by_row(database: Database, rows: Sequence[Row]) -> object:
    async with get_db_context(database) as session:
        people = AsyncBaseRepository(Person, session)
        return [await people.create(one) for one in rows]


async def _bulk_create(database: Database, rows: Sequence[Row]) -> object:
    async with get_db_context(database) as session:
        return await AsyncBaseRepository(Person, session).bulk_create(rows)


async def _bulk_insert(database: Database, rows: Sequence[Row]) -> object:
    async with get_db_context(database) as session:
        return await BulkOperations.bulk_insert(session, Person, rows)


async def _copy(database: Database, rows: Sequence[Row]) -> object:
    """By hand: COPY knows neither Python's defaults nor SQLAlchemy's types."""
    names = ["id", "name", "email", "role", "is_active", "created_at", "updated_at"]
    now = datetime.now(UTC)
    async with get_db_context(database) as session:
        connection = await (await session.connection()).get_raw_connection()
        driver: Any = connection.driver_connection
        records = [(uuid7(), one["name"], one["email"], "RESIDENT", True, now, now) for one in rows]
        return await driver.copy_records_to_table("persons", records=records, columns=names)


class _Inserting(NamedTuple):
    insert: Callable[[Database, Sequence[Row]], Awaitable[object]]
    is_bulk: bool = True


WAYS = {
    "row by row": _Inserting(_row_by_row, is_bulk=False),
    "bulk_create": _Inserting(_bulk_create),
    "bulk_insert": _Inserting(_bulk_insert),
    "COPY": _Inserting(_copy),
}


async def measure(
    database: Database, rounds: int, *, bulk: int = BULK, sample: int = SAMPLE
) -> dict[str, list[Cost]]:
    """Costs for one row, each way in one transaction that is committed, into an empty table; row by row only a sample."""
    costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
    for number in range(rounds):
        for name in list(WAYS)[:: -1 if number % 2 else 1]:
            costs[name].append(await _one(database, WAYS[name], bulk, sample))
    return costs


async def _one(database: Database, way: _Inserting, bulk: int, sample: int) -> Cost:
    rows = [row(number) for number in range(bulk if way.is_bulk else sample)]
    await empty_table(database)
    whole = await cost(lambda _: way.insert(database, rows), 1)
    async with database.session() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == len(rows)
    return Cost(whole.cpu / len(rows), whole.wall / len(rows))


def rows_per_second(per_row: Cost) -> int:
    return round(1e6 / per_row.wall)
