"""Indexes that nobody reads, and what the others do for their size."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from app.core.monitor._figures import moment, size
from app.core.monitor._index_ddl import alembic_drop, drop_index
from app.core.monitor._panel import Finding
from app.core.monitor._relations import USER_SCHEMA
from app.core.monitor._server import Asked
from app.core.monitor._standing import Standing, standing

# An index of a partitioned table counts together with those of the partitions. Nothing here waits for a lock.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-INDEXES-VIEW
_USED = f"""
WITH RECURSIVE part AS (
    SELECT h.inhrelid AS oid, h.inhparent AS root FROM pg_catalog.pg_inherits h
    JOIN pg_catalog.pg_class p ON p.oid = h.inhparent WHERE p.relkind = 'I' AND NOT p.relispartition
    UNION ALL
    SELECT h.inhrelid, t.root FROM part t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid
), used AS (
    SELECT coalesce(t.root, c.oid) AS root, sum(c.relpages)::bigint * current_setting('block_size')::bigint AS bytes,
           sum(pg_catalog.pg_stat_get_numscans(c.oid))::bigint AS scans, max(LAST_SCAN) AS last_scan,
           sum(pg_catalog.pg_stat_get_tuples_returned(c.oid))::bigint AS entries_read,
           sum(pg_catalog.pg_stat_get_tuples_fetched(c.oid))::bigint AS rows_fetched
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN part t ON t.oid = c.oid
    WHERE {USER_SCHEMA} AND WHICH GROUP BY 1 HAVING sum(c.relpages)::bigint * current_setting('block_size')::bigint >= $1
), top AS MATERIALIZED (
    SELECT u.* FROM used u WHERE HOW ORDER BY u.bytes DESC, u.root LIMIT $2
)
SELECT n.nspname::text AS schema, r.relname::text AS table, c.relname::text AS name, u.bytes, u.scans, u.last_scan,
       u.entries_read, u.rows_fetched, c.relkind = 'I' AS is_partitioned, COLUMNS
FROM top u JOIN pg_catalog.pg_index i ON i.indexrelid = u.root JOIN pg_catalog.pg_class c ON c.oid = u.root
JOIN pg_catalog.pg_class r ON r.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY u.bytes DESC, n.nspname, c.relname
"""  # noqa: S608 - constants only
# The last one that serves a foreign key stays; of several that nobody scans, the oldest.
_UNSCANNED = (
    _USED.replace("WHICH", "i.indisvalid AND NOT (i.indisunique OR i.indisprimary OR i.indisexclusion)")
    .replace("HOW", "u.scans = 0 OR u.last_scan < $3")
    .replace(
        "COLUMNS",
        """
       i.indisreplident AS is_identity, i.indisclustered AS is_clustered, i.indexprs IS NOT NULL AS has_expression,
       EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.conrelid = i.indrelid AND f.contype = 'f'
           AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_index o WHERE o.indrelid = i.indrelid AND o.indexrelid <> i.indexrelid
               AND o.indisvalid AND o.indpred IS NULL AND (o.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey
               AND (o.indisunique OR pg_catalog.pg_stat_get_numscans(o.indexrelid) > 0 OR o.indexrelid < i.indexrelid))
       ) AS serves_a_key""",
    )
)
_EFFICIENCY = (
    _USED.replace("WHICH", "i.indislive")
    .replace("HOW", "true")
    .replace(
        "COLUMNS",
        "pg_catalog.pg_stat_get_numscans(i.indrelid) AS table_seq_scans, i.indisunique AS is_unique",
    )
)

Verdict = Literal["unused", "kept", "cannot_judge"]


@dataclass(frozen=True, slots=True)
class UnusedIndex:
    """An index that nobody scanned, or not for long.

    ``verdict``: ``unused`` may be dropped, and ``ddl`` and ``alembic`` say how; ``kept`` serves something else and ``cannot_judge``
    cannot be told, both with the ``reason``. ``since``: from when on scans were counted. Bytes are those of the last VACUUM or ANALYZE.
    """

    schema: str
    table: str
    name: str
    bytes: int
    scans: int
    last_scan: datetime | None
    since: datetime
    verdict: Verdict
    reason: str
    ddl: tuple[str, ...]
    alembic: str | None


@dataclass(frozen=True, slots=True)
class IndexEfficiency:
    """What an index does for its size, since ``since``: scans, entries read and rows fetched by them. ``scan_percent``: scans of all reads
    of the table that this index or a sequential scan served; None for no reads.
    """

    schema: str
    table: str
    name: str
    bytes: int
    scans: int
    last_scan: datetime | None
    entries_read: int
    rows_fetched: int
    table_seq_scans: int
    is_unique: bool
    since: datetime

    @property
    def scan_percent(self) -> float | None:
        """0 to 100."""
        reads = self.scans + self.table_seq_scans
        return round(100.0 * self.scans / reads, 1) if reads else None

    @property
    def entries_per_scan(self) -> float | None:
        """How many entries a scan reads in the mean: a large part of the table's rows says that the index hardly selects."""
        return round(self.entries_read / self.scans, 1) if self.scans else None


async def unused_indexes(
    asked: Asked, *, days: float = 35.0, least_bytes: int = 1_048_576, limit: int = 100
) -> tuple[UnusedIndex, ...]:
    """Indexes of ``least_bytes`` or more that no statement scanned for ``days`` (before PostgreSQL 16: ever), largest first.

    Unique ones and those behind constraints are never among them: they hold rules, not only speed. No verdict is given while statistics are
    younger than ``days``, on a standby, or where standbys read too: only they know what they scan. When an index was made is not known to
    PostgreSQL: one that is young has had no time to be scanned.
    """
    server = await standing(asked)
    doubt = _doubt(server, days)
    long_ago = server.at - timedelta(days=days)
    rows = await asked.fetch(_versioned(_UNSCANNED, server), least_bytes, limit, long_ago)
    return tuple(_judged(row, server.since, doubt) for row in rows)


async def index_efficiency(asked: Asked, *, limit: int = 100) -> tuple[IndexEfficiency, ...]:
    """The largest ``limit`` indexes and what they do for their size."""
    server = await standing(asked)
    rows = await asked.fetch(_versioned(_EFFICIENCY, server), 0, limit)
    return tuple(
        IndexEfficiency(
            **{name: value for name, value in row.items() if name != "is_partitioned"}, since=server.since
        )
        for row in rows
    )


def unused_findings(indexes: tuple[UnusedIndex, ...], *, warn_bytes: int = 104_857_600) -> list[Finding]:
    """One for each that may be dropped; a warning from ``warn_bytes`` (100 MB) on."""
    return [
        Finding(
            check="indexes.unused",
            severity="warning" if index.bytes >= warn_bytes else "info",
            subject=f"{index.schema}.{index.name}",
            title=f"Nobody reads the index {index.name} of {index.table}",
            evidence=f"{size(index.bytes)}; {index.reason}",
            fix="Drop it, unless it is new or serves a rare report; every write of the table pays for it",
            ddl=index.ddl,
        )
        for index in indexes
        if index.verdict == "unused"
    ]


def _versioned(sql: str, server: Standing) -> str:
    return sql.replace("LAST_SCAN", server.last_scan("c.oid"))


def _doubt(server: Standing, days: float) -> str | None:
    if server.is_standby:
        return "this is a standby: it knows of its own reads alone"
    if server.standbys:
        return f"{server.standbys} standby(s) may read it; only their own statistics tell"
    if server.at - server.since < timedelta(days=days):
        return f"scans are counted since {moment(server.since)} only; {days:g} days are needed"
    return None


def _judged(row: Mapping[str, Any], since: datetime, doubt: str | None) -> UnusedIndex:
    verdict, reason = _verdict(row, since, doubt)
    schema, table, name, whole = row["schema"], row["table"], row["name"], row["is_partitioned"]
    may_go = verdict == "unused"
    return UnusedIndex(
        schema=schema,
        table=table,
        name=name,
        bytes=row["bytes"],
        scans=row["scans"],
        last_scan=row["last_scan"],
        since=since,
        verdict=verdict,
        reason=reason,
        ddl=(drop_index(schema, name, is_partitioned=whole),) if may_go else (),
        alembic=alembic_drop(schema, table, name, is_partitioned=whole) if may_go else None,
    )


def _verdict(row: Mapping[str, Any], since: datetime, doubt: str | None) -> tuple[Verdict, str]:
    kept = {
        "is_identity": "it is the table's replica identity",
        "is_clustered": "the table was clustered by it",
        "has_expression": "the planner uses the statistics of its expression, also without a scan",
        "serves_a_key": "it is the only index for a foreign key: deleting referenced rows would read the whole table",
    }
    for name, reason in kept.items():
        if row[name]:
            return "kept", reason
    if doubt is not None:
        return "cannot_judge", doubt
    if row["last_scan"] is not None:
        return (
            "unused",
            f"last scanned {moment(row['last_scan'])}, {row['scans']} times since {moment(since)}",
        )
    return "unused", f"no scan since {moment(since)}"
