"""How fast tables grow: from stored samples of their sizes, or as an estimate while there are none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from app.core.monitor._relations import SCHEMAS, quoted
from app.core.monitor._server import Asked

SAMPLES_TABLE: Final = "monitor_table_samples"
"""Where samples are kept, if somebody keeps them: a table of the watched database (``taken_at``, ``schema_name``, ``table_name``,
``heap_bytes``, ``index_bytes``, ``toast_bytes``, ``row_count``).
"""

_HOUR_S, _DAY_S = 3600.0, 86_400.0
_FORECAST_DAYS = 30
_LEAST_SPAN = timedelta(minutes=1)
_DAY = timedelta(days=1)

_WHERE = f"""
SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = $1 AND n.nspname = ANY({SCHEMAS}) AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
ORDER BY pg_catalog.array_position({SCHEMAS}, n.nspname) LIMIT 1
"""  # noqa: S608 - constants only
# Three look-ups in the key for each table, and a count of a week's entries.
_ENDS = """
SELECT k.place, l.taken_at AS last_at, l.bytes AS last_bytes, d.taken_at AS day_at, d.bytes AS day_bytes,
       w.taken_at AS week_at, w.bytes AS week_bytes,
       (SELECT count(*) FROM {samples} s WHERE s.schema_name = k.schema_name AND s.table_name = k.table_name
        AND s.taken_at BETWEEN $3::timestamptz - interval '7 days' AND $3::timestamptz)::int AS points
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(schema_name, table_name, place)
CROSS JOIN LATERAL (SELECT s.taken_at, s.heap_bytes + s.index_bytes + s.toast_bytes AS bytes FROM {samples} s
    WHERE s.schema_name = k.schema_name AND s.table_name = k.table_name
      AND s.taken_at BETWEEN $3::timestamptz - interval '7 days' AND $3::timestamptz ORDER BY s.taken_at DESC LIMIT 1) l
CROSS JOIN LATERAL (SELECT s.taken_at, s.heap_bytes + s.index_bytes + s.toast_bytes AS bytes FROM {samples} s
    WHERE s.schema_name = k.schema_name AND s.table_name = k.table_name
      AND s.taken_at BETWEEN l.taken_at - interval '1 day' AND l.taken_at ORDER BY s.taken_at LIMIT 1) d
CROSS JOIN LATERAL (SELECT s.taken_at, s.heap_bytes + s.index_bytes + s.toast_bytes AS bytes FROM {samples} s
    WHERE s.schema_name = k.schema_name AND s.table_name = k.table_name
      AND s.taken_at BETWEEN l.taken_at - interval '7 days' AND l.taken_at ORDER BY s.taken_at LIMIT 1) w
"""
# The last of each hour: at most 169.
_SERIES = """
SELECT DISTINCT ON (date_bin('1 hour', s.taken_at, 'epoch')) s.taken_at AS at,
       s.heap_bytes + s.index_bytes + s.toast_bytes AS bytes, s.row_count AS rows
FROM {samples} s WHERE s.schema_name = $1 AND s.table_name = $2
  AND s.taken_at BETWEEN $3::timestamptz - interval '7 days' AND $3::timestamptz
ORDER BY date_bin('1 hour', s.taken_at, 'epoch'), s.taken_at DESC
"""


@dataclass(frozen=True, slots=True)
class SizePoint:
    """How large a table was with its indexes and TOAST, in bytes, and how many live rows it had."""

    at: datetime
    bytes: int
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """How fast a table grows; less than nothing when it shrinks.

    ``basis``: ``measured`` from ``points`` samples between ``since`` and ``until``, or an ``estimate``: rows inserted less rows deleted
    since ``since``, at the size of a row today. ``bytes_per_hour`` looks at the last day, ``bytes_per_day`` at the last week, both at
    their first and last sample. ``bytes_in_30_days`` goes on as the week did; None with fewer than three
    samples, or less than a day between them.
    """

    basis: Literal["measured", "estimate"]
    bytes_per_hour: float
    bytes_per_day: float
    points: int
    since: datetime
    until: datetime
    bytes_in_30_days: int | None
    note: str


@dataclass(frozen=True, slots=True)
class Turnover:
    """What an estimate is made of: counters since ``since`` (``is_at_least``: they may be older), and the size that goes with the rows."""

    inserted: int
    deleted: int
    live_rows: int
    bytes: int
    since: datetime
    until: datetime
    is_at_least: bool


async def _samples(asked: Asked) -> str | None:
    """The table of samples as a statement names it; None where nobody keeps samples in this database, or the role may not read them."""
    schema = await asked.fetchval(_WHERE, SAMPLES_TABLE)
    return None if schema is None else quoted(schema, SAMPLES_TABLE)


async def measured_growth(
    asked: Asked, tables: Sequence[tuple[str, str]], now: datetime
) -> dict[tuple[str, str], Growth]:
    """The growth of each of ``tables`` (schema, name) that has two samples in the week before ``now``. Asks for a hundred at most."""
    if not tables or (samples := await _samples(asked)) is None:
        return {}
    rows = await asked.fetch(
        _ENDS.format(samples=samples), [schema for schema, _ in tables], [name for _, name in tables], now
    )
    found = {
        tables[row["place"] - 1]: growth_between(
            SizePoint(row["week_at"], row["week_bytes"]),
            SizePoint(row["day_at"], row["day_bytes"]),
            SizePoint(row["last_at"], row["last_bytes"]),
            points=row["points"],
        )
        for row in rows
    }
    return {table: growth for table, growth in found.items() if growth is not None}


async def size_series(asked: Asked, schema: str, table: str, now: datetime) -> tuple[SizePoint, ...]:
    """The last sample of each hour of the week before ``now``, oldest first; none where nobody keeps samples."""
    if (samples := await _samples(asked)) is None:
        return ()
    rows = await asked.fetch(_SERIES.format(samples=samples), schema, table, now)
    return tuple(SizePoint(**row) for row in rows)


def growth_between(week: SizePoint, day: SizePoint, last: SizePoint, *, points: int) -> Growth | None:
    """Growth from the first sample of the week, the first of the last day, and the last. None when they are one sample."""
    span = last.at - week.at
    if points < 2 or span < _LEAST_SPAN:
        return None
    first_of_day = day if last.at - day.at >= _LEAST_SPAN else week
    per_day = _rate(week, last) * _DAY_S
    is_enough = points >= 3 and span >= _DAY
    return Growth(
        basis="measured",
        bytes_per_hour=round(_rate(first_of_day, last) * _HOUR_S, 1),
        bytes_per_day=round(per_day, 1),
        points=points,
        since=week.at,
        until=last.at,
        bytes_in_30_days=max(0, round(last.bytes + per_day * _FORECAST_DAYS)) if is_enough else None,
        note="" if is_enough else "No forecast yet: it needs three samples over a day",
    )


def estimated_growth(turnover: Turnover) -> Growth:
    """Growth as the server's counters have it, for a table without two samples."""
    seconds = max((turnover.until - turnover.since).total_seconds(), 1.0)
    row_bytes = turnover.bytes / turnover.live_rows if turnover.live_rows > 0 else 0.0
    rate = (turnover.inserted - turnover.deleted) * row_bytes / seconds
    return Growth(
        basis="estimate",
        bytes_per_hour=round(rate * _HOUR_S, 1),
        bytes_per_day=round(rate * _DAY_S, 1),
        points=0,
        since=turnover.since,
        until=turnover.until,
        bytes_in_30_days=None,
        note="An estimate, from rows inserted and deleted; sizes are sampled every five minutes"
        + ("; the counters may be older than that, and the true rate lower" if turnover.is_at_least else ""),
    )


def _rate(first: SizePoint, last: SizePoint) -> float:
    """Bytes a second."""
    return (last.bytes - first.bytes) / (last.at - first.at).total_seconds()
