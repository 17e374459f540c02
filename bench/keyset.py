"""Page 1 and page 10,000 of a list that is followed by cursor, in turns, by the clock on the wall; and the deep one by number."""

from sqlalchemy import select

from app.core.db import AsyncBaseRepository, CursorSigner, Database, PaginationParams
from app.core.db._cursor import encode_cursor
from app.core.db._keyset import position_of
from app.core.db._sorting import parse_sort, total_order
from bench.bounds import Bound
from bench.people import Person, fill_table
from bench.turns import Cost, in_turns

LIMIT = 100
DEEP = 10_000
ORDER = "created_at"
FIRST, LAST = "page 1", f"page {DEEP:,}"
BY_NUMBER, BESIDE = f"page {DEEP:,} by number", "page 1 beside it"
BOUNDS = (
    Bound(LAST, FIRST, "wall", least=0.8, most=1.2),
    Bound(LAST, FIRST, "cpu"),
    Bound(BY_NUMBER, BESIDE, "wall"),
)
_signer = CursorSigner(["a benchmark's secret, worth nothing"])


async def measure(
    database: Database, rounds: int, *, deep: int = DEEP, operations: int = 20
) -> dict[str, list[Cost]]:
    """Costs for one page, each in a session of its own; the table has one page more than ``deep``."""
    await fill_table(database, (deep + 1) * LIMIT)
    cursor = await _cursor_behind(database, (deep - 1) * LIMIT)

    async def page(after: str | None) -> None:
        async with database.session() as session:
            people = AsyncBaseRepository(Person, session, cursors=_signer)
            found = await people.get_cursor_page(after, limit=LIMIT, order_by=ORDER)
            assert (len(found.data), found.has_next) == (LIMIT, True)

    async def by_number(_: int) -> None:
        async with database.session() as session:
            people = AsyncBaseRepository(Person, session)
            await people.get_paginated(PaginationParams((deep - 1) * LIMIT, LIMIT), order_by=ORDER)

    costs = await in_turns(
        {FIRST: lambda _: page(None), LAST: lambda _: page(cursor)}, rounds=rounds * 3, operations=operations
    )
    slow = {BESIDE: lambda _: page(None), BY_NUMBER: by_number}
    return costs | await in_turns(slow, rounds=3, operations=2)


async def _cursor_behind(database: Database, count: int) -> str:
    """The cursor of the page whose last row has this number, made from the row itself instead of by walking there."""
    keys = total_order(Person, parse_sort(Person, ORDER))
    async with database.session() as session:
        row = await session.scalar(select(Person).where(Person.name == f"Person {count}"))
    return encode_cursor(_signer, Person, keys, position_of(row, keys))
