"""Partitions by month: made ahead of time, dropped when they are old."""

import re
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._errors import translate_errors

_NAME = re.compile(r"(?P<table>[a-z_]+)_y(?P<year>\d{4})m(?P<month>\d{2})")
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"


def is_partition(name: str | None) -> bool:
    """Whether a table of this name is a month's partition; migrations leave these alone."""
    return name is not None and _NAME.fullmatch(name) is not None


def partitioned_table(name: str) -> str | None:
    """The table that a partition of this name belongs to; None for a name of no partition."""
    match = _NAME.fullmatch(name)
    return None if match is None else match["table"]


async def keep_partitions(
    session: AsyncSession, table: str, *, ahead: int = 3, keep: int | None = None, today: date | None = None
) -> tuple[list[str], list[str]]:
    """Make the partitions of this month and of ``ahead`` more (0 to 120), and drop those over ``keep`` months old (None: none); the names
    of both. Months are UTC, today is the server's unless given. The caller commits.

    Making or dropping one locks the whole table for a moment, and gives up after five seconds of waiting for that. Raises ValueError for
    options out of range or a table whose name is not of small letters, and a DatabaseError.
    """
    if not re.fullmatch("[a-z_]+", table):
        raise ValueError(f"a partitioned table's name has small letters only, not {table!r}")
    if not 0 <= ahead <= 120 or (keep is not None and keep < 1):
        raise ValueError(f"ahead must be 0 to 120 months and keep 1 or more, not {ahead} and {keep}")
    with translate_errors():
        if today is None:
            today = (await session.execute(text("SELECT (now() AT TIME ZONE 'UTC')::date"))).scalar_one()
        wanted = {_name(table, month_after(today, n)): month_after(today, n) for n in range(ahead + 1)}
        oldest = None if keep is None else month_after(today, -keep)
        made, old = _changes(await _partitions(session, table), wanted, oldest)
        if made or old:
            await session.execute(text(_LOCK_TIMEOUT))
            # Reads and writes go on; another one who does the same waits here, and then looks again.
            await session.execute(text(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE"))
            made, old = _changes(await _partitions(session, table), wanted, oldest)
        for name, first in made.items():
            await session.execute(text(_create(table, name, first)))
        for name in old:
            await session.execute(text(f"DROP TABLE {name}"))
    return list(made), old


def _changes(
    there: list[str], wanted: dict[str, date], oldest: date | None
) -> tuple[dict[str, date], list[str]]:
    made = {name: first for name, first in wanted.items() if name not in there}
    return made, [] if oldest is None else [name for name in there if _month(name) < oldest]


def month_after(day: date, months: int) -> date:
    """The first day of the month ``months`` after the one of ``day``, or before it."""
    years, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(years, month + 1, 1)


def _create(table: str, name: str, first: date) -> str:
    end = month_after(first, 1)
    return (
        f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{first} 00:00+00') TO ('{end} 00:00+00')"
    )


def _name(table: str, first: date) -> str:
    return f"{table}_y{first.year:04d}m{first.month:02d}"


def _month(name: str) -> date:
    match = _NAME.fullmatch(name)
    assert match is not None  # noqa: S101 - _partitions gives only such names
    return date(int(match["year"]), int(match["month"]), 1)


async def _partitions(session: AsyncSession, table: str) -> list[str]:
    names = await session.scalars(
        text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = to_regclass(:table) ORDER BY c.relname"
        ),
        {"table": table},
    )
    return [name for name in names if is_partition(name)]
