"""The history of statements."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import BigInteger, RowMapping, any_, delete, func, insert, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.db_monitor.models import MonitoredStatement, StatementSample
from app.builtin.db_monitor.models.statement_samples import ALL_STATEMENTS
from app.core.db import keep_partitions, translate_errors
from app.core.monitor import StatementDeltas, StatementKey, StatementUse

TABLE = StatementSample.__tablename__
_TURN = text(
    "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('gatehouse:monitor_statement_samples', 0))"
)
_LATER = text("SELECT EXISTS (SELECT 1 FROM monitor_statement_samples WHERE queryid = 0 AND at > :since)")
_KEEP_TEXTS = text("""
INSERT INTO monitor_statements AS known (queryid, text, routes, policies, first_seen, last_seen)
SELECT n.queryid, n.text, array_remove(ARRAY[n.route], ''), array_remove(ARRAY[n.policy], ''), :at, :at
FROM unnest(CAST(:ids AS bigint[]), CAST(:texts AS text[]), CAST(:routes AS text[]), CAST(:policies AS text[]))
    AS n(queryid, text, route, policy)
ON CONFLICT (queryid) DO UPDATE SET last_seen = excluded.last_seen,
    routes = (ARRAY(SELECT DISTINCT unnest(known.routes || excluded.routes) ORDER BY 1))[1:20],
    policies = (ARRAY(SELECT DISTINCT unnest(known.policies || excluded.policies) ORDER BY 1))[1:20]
""")
# Once an hour is enough to know when a text may go, and spares the table hundreds of changes each time.
_SEEN = text("""
UPDATE monitor_statements SET last_seen = :at
WHERE queryid = ANY(CAST(:ids AS bigint[])) AND last_seen < CAST(:at AS timestamptz) - interval '1 hour'
""")
_IN_A_MOMENT = text(
    "SELECT pg_catalog.set_config('statement_timeout', '2s', true), pg_catalog.set_config('lock_timeout', '200ms', true),"
    " pg_catalog.set_config('jit', 'off', true)"
)
_SUMS = """
CAST(sum(calls) AS bigint) AS calls, CAST(sum(exec_us) AS bigint) AS exec_us, CAST(sum(plans) AS bigint) AS plans,
CAST(sum(plan_us) AS bigint) AS plan_us, CAST(sum(io_us) AS bigint) AS io_us, CAST(sum(rows) AS bigint) AS rows,
CAST(sum(hit_blocks) AS bigint) AS hit_blocks, CAST(sum(read_blocks) AS bigint) AS read_blocks,
CAST(sum(dirtied_blocks) AS bigint) AS dirtied_blocks, CAST(sum(temp_blocks) AS bigint) AS temp_blocks,
CAST(sum(wal_bytes) AS bigint) AS wal_bytes, sum(squares_ms2) AS squares_ms2, max(max_us) AS max_us
"""
_WINDOW = text(f"""
SELECT queryid, min(since) AS since, max(at) AS until, bool_and(is_complete) AS is_complete, sum(at - since) AS covered, {_SUMS}
FROM monitor_statement_samples
WHERE at > now() - CAST(:window AS interval) AND (CAST(:queryid AS bigint) IS NULL OR queryid IN (0, :queryid)) GROUP BY queryid
""")  # noqa: S608 - a constant of this file
_SPAN = text("""
SELECT min(since), max(at), now() FROM monitor_statement_samples
WHERE queryid = 0 AND at > coalesce(now() - CAST(:window AS interval), '-infinity')
""")
_SERIES = text(f"""
SELECT date_bin(CAST(:step AS interval), at, CAST(:since AS timestamptz)) AS bucket, queryid = 0 AS is_all, {_SUMS}
FROM monitor_statement_samples WHERE queryid IN (0, :queryid) AND at > :since GROUP BY 1, 2 ORDER BY 1
""")  # noqa: S608 - a constant of this file
_STEPS = tuple(
    timedelta(minutes=minutes)
    for minutes in (5, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 5760, 11520, 23040)
)
MOST_POINTS = 300


class NewText(NamedTuple):
    """A redacted text as it was just seen, with the origin that it names; empty where it names none."""

    queryid: int
    text: str
    route: str
    policy: str


@dataclass(frozen=True, slots=True)
class WindowUse:
    """What statements cost ``since`` .. ``until``. ``covered``: how much of it was sampled. ``is_complete``: nothing in it was lost."""

    since: datetime
    until: datetime
    covered: timedelta
    is_complete: bool
    total: StatementUse
    uses: Mapping[int, StatementUse]


@dataclass(frozen=True, slots=True)
class KnownStatement:
    """What is known of a statement besides its cost."""

    text: str
    routes: tuple[str, ...]
    policies: tuple[str, ...]
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class StatementSeries:
    """One statement over time, in steps of ``step``: when each began, what the statement cost in it, and all statements together."""

    step: timedelta
    points: Sequence[tuple[datetime, StatementUse, StatementUse]]


class StatementHistory:
    """The history, in one session. Raises our database errors."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def is_taken(self, since: datetime) -> bool:
        """Whether somebody has written a sample that ends after ``since``. Until the end of the transaction nobody else who asks writes."""
        with translate_errors():
            await self._session.execute(_TURN)
            return bool(await self._session.scalar(_LATER, {"since": since}))

    async def put(self, found: StatementDeltas, top: Iterable[StatementKey]) -> None:
        """Write a sample of each of ``top``, and the one of all statements."""
        everything = StatementKey(0, 0, ALL_STATEMENTS, toplevel=True)
        uses = {everything: found.total, **{key: found.uses[key] for key in top}}
        rows = [
            {
                "queryid": key.queryid,
                "at": found.until,
                "user_id": key.userid,
                "toplevel": key.toplevel,
                "is_complete": found.is_complete,
                "since": found.since,
                **asdict(use),
            }
            for key, use in uses.items()
        ]
        with translate_errors():
            await self._session.execute(insert(StatementSample), rows)

    async def keep_texts(self, texts: Sequence[NewText], seen: Iterable[int], at: datetime) -> None:
        """Keep texts that are new, add their origins to known ones, and note that ``seen`` ran."""
        columns = list(zip(*texts, strict=True)) if texts else [(), (), (), ()]
        names = ("ids", "texts", "routes", "policies")
        with translate_errors():
            if texts:
                values = {name: list(column) for name, column in zip(names, columns, strict=True)}
                await self._session.execute(_KEEP_TEXTS, {**values, "at": at})
            await self._session.execute(_SEEN, {"ids": list(seen), "at": at})

    async def read_quickly(self) -> None:
        """Give up on what takes longer than two seconds, or on a lock after a fifth of one, until the end of the transaction."""
        with translate_errors():
            await self._session.execute(_IN_A_MOMENT)

    async def window(self, length: timedelta, queryid: int | None = None) -> WindowUse | None:
        """All samples that end within the last ``length``, by statement, or those of one; None when there is none."""
        with translate_errors():
            values = {"window": length, "queryid": queryid}
            found = (await self._session.execute(_WINDOW, values)).mappings().all()
        uses = {row["queryid"]: _use(row) for row in found}
        for row in found:
            if row["queryid"] == ALL_STATEMENTS:
                total = uses.pop(ALL_STATEMENTS)
                return WindowUse(row["since"], row["until"], row["covered"], row["is_complete"], total, uses)
        return None

    async def texts(self, queryids: Iterable[int]) -> dict[int, KnownStatement]:
        """What is known of these statements; those that never were among the first of an interval are absent."""
        ids = literal(list(queryids), ARRAY(BigInteger))
        rows = select(MonitoredStatement).where(MonitoredStatement.queryid == any_(ids))
        with translate_errors():
            return {
                row.queryid: KnownStatement(
                    row.text, tuple(row.routes), tuple(row.policies), row.first_seen, row.last_seen
                )
                for row in await self._session.scalars(rows)
            }

    async def series(self, queryid: int, length: timedelta | None) -> StatementSeries:
        """The statement over the last ``length`` (None: all that there is), in at most 300 points; steps in which nothing at all was
        sampled are absent, those in which it did not run are zero.
        """
        with translate_errors():
            first, last, now = (await self._session.execute(_SPAN, {"window": length})).one()
            if first is None:
                return StatementSeries(_STEPS[0], ())
            since = first if length is None else max(first, now - length)
            step = next((step for step in _STEPS if (last - since) / step < MOST_POINTS - 1), _STEPS[-1])
            values = {"queryid": queryid, "since": since, "step": step}
            rows = (await self._session.execute(_SERIES, values)).mappings().all()
        own = {row["bucket"]: _use(row) for row in rows if not row["is_all"]}
        everything = [(row["bucket"], _use(row)) for row in rows if row["is_all"]]
        return StatementSeries(step, [(at, own.get(at, StatementUse()), total) for at, total in everything])

    async def keep(self, months: int) -> None:
        """Make the partitions of the next months, and drop what is over ``months`` months old."""
        await keep_partitions(self._session, TABLE, keep=months)
        oldest = func.now() - timedelta(days=31 * months)
        with translate_errors():
            await self._session.execute(
                delete(MonitoredStatement).where(MonitoredStatement.last_seen < oldest)
            )


def _use(row: RowMapping) -> StatementUse:
    return StatementUse(**{name: row[name] for name in StatementUse.__dataclass_fields__})
