"""Tables by size: rows, dead ones, how they are read and written, when they were last cleaned, and how fast they grow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from app.core.monitor._figures import moment, size
from app.core.monitor._growth import Growth, Turnover, estimated_growth, measured_growth
from app.core.monitor._panel import Finding
from app.core.monitor._relations import LOCKED, USER_SCHEMA
from app.core.monitor._server import Asked
from app.core.monitor._standing import Standing, standing

# All tables by the sizes that VACUUM and ANALYZE wrote down: one pass over the catalogs that waits for nobody.
# https://www.postgresql.org/docs/current/catalog-pg-class.html
_PAGE = f"""
WITH RECURSIVE part AS (
    SELECT h.inhrelid AS oid, h.inhparent AS root FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
    WHERE p.relkind = 'p' AND CASE WHEN $3::oid IS NULL THEN NOT p.relispartition ELSE p.oid = $3 END
    UNION ALL
    SELECT h.inhrelid, t.root FROM part t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid
), tree AS (
    SELECT c.oid, coalesce(t.root, c.oid) AS root FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN part t ON t.oid = c.oid
    WHERE c.relkind IN ('r', 'p', 'm') AND {USER_SCHEMA} AND ($3::oid IS NULL OR c.oid = $3 OR t.root IS NOT NULL)
), indexed AS (
    SELECT i.indrelid, sum(x.relpages)::bigint AS pages FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid GROUP BY i.indrelid
), sized AS (
    SELECT t.root, array_agg(t.oid) FILTER (WHERE c.relkind <> 'p') AS leaves,
           sum(c.relpages)::bigint AS heap, coalesce(sum(x.pages), 0)::bigint AS indexes,
           coalesce(sum(o.relpages + coalesce(ox.pages, 0)), 0)::bigint AS toast
    FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid LEFT JOIN indexed x ON x.indrelid = t.oid
    LEFT JOIN pg_catalog.pg_class o ON o.oid = c.reltoastrelid AND c.reltoastrelid <> 0 LEFT JOIN indexed ox ON ox.indrelid = o.oid
    GROUP BY t.root
)
SELECT s.root, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, coalesce(s.leaves, '{{}}') AS leaves,
       s.heap, s.indexes, s.toast, count(*) OVER ()::int AS total
FROM sized s JOIN pg_catalog.pg_class c ON c.oid = s.root JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY s.heap + s.indexes + s.toast DESC, n.nspname, c.relname LIMIT $1 OFFSET $2
"""  # noqa: S608 - constants only
# The size functions wait for who holds the table or an index of it exclusively, so these keep the size that VACUUM wrote down; of a table
# that was dropped a moment ago they say NULL.
_NUMBERS = f"""
WITH {LOCKED}, blocked AS MATERIALIZED (
    SELECT l.relation AS oid FROM locked l UNION
    SELECT i.indrelid FROM locked l JOIN pg_catalog.pg_index i ON i.indexrelid = l.relation UNION
    SELECT c.oid FROM locked l JOIN pg_catalog.pg_class c ON c.reltoastrelid = l.relation
), leaves AS (
    SELECT g.root, leaf.oid, c.reltuples, c.reltoastrelid AS toast,
           count(*) OVER (PARTITION BY g.root) <= $3 AND NOT bool_or(leaf.oid IN (SELECT b.oid FROM blocked b)) OVER (PARTITION BY g.root)
               AS is_free
    FROM unnest($1::oid[], $2::oid[]) AS g(root, leaf) JOIN LATERAL (SELECT g.leaf AS oid) leaf ON true
    JOIN pg_catalog.pg_class c ON c.oid = leaf.oid
)
SELECT l.root, bool_and(l.is_free) AS is_exact,
       coalesce(sum(CASE WHEN l.is_free THEN pg_catalog.pg_table_size(l.oid) END), 0)::bigint AS table_bytes,
       coalesce(sum(CASE WHEN l.is_free AND l.toast <> 0 THEN pg_catalog.pg_total_relation_size(l.toast) END), 0)::bigint AS toast_bytes,
       coalesce(sum(CASE WHEN l.is_free THEN pg_catalog.pg_indexes_size(l.oid) END), 0)::bigint AS index_bytes,
       CASE WHEN bool_and(l.reltuples >= 0) THEN sum(l.reltuples)::bigint END AS estimated_rows,
       sum(pg_catalog.pg_stat_get_live_tuples(l.oid))::bigint AS live_rows,
       sum(pg_catalog.pg_stat_get_dead_tuples(l.oid))::bigint AS dead_rows,
       sum(pg_catalog.pg_stat_get_tuples_inserted(l.oid))::bigint AS inserted,
       sum(pg_catalog.pg_stat_get_tuples_updated(l.oid))::bigint AS updated,
       sum(pg_catalog.pg_stat_get_tuples_hot_updated(l.oid))::bigint AS hot_updated,
       sum(pg_catalog.pg_stat_get_tuples_deleted(l.oid))::bigint AS deleted,
       sum(pg_catalog.pg_stat_get_mod_since_analyze(l.oid))::bigint AS changed_since_analyze,
       sum(pg_catalog.pg_stat_get_numscans(l.oid))::bigint AS seq_scans,
       sum(pg_catalog.pg_stat_get_tuples_returned(l.oid))::bigint AS seq_rows_read,
       coalesce(sum((SELECT sum(pg_catalog.pg_stat_get_numscans(i.indexrelid)) FROM pg_catalog.pg_index i
           WHERE i.indrelid = l.oid)), 0)::bigint AS index_scans,
       max(greatest(pg_catalog.pg_stat_get_last_vacuum_time(l.oid), pg_catalog.pg_stat_get_last_autovacuum_time(l.oid))) AS last_vacuum,
       max(greatest(pg_catalog.pg_stat_get_last_analyze_time(l.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(l.oid))) AS last_analyze
FROM leaves l GROUP BY l.root
"""  # noqa: S608 - constants only
_MOST_LEAVES = 50
_KINDS: dict[str, Literal["table", "partitioned", "materialized view"]] = {
    "r": "table",
    "p": "partitioned",
    "m": "materialized view",
}
_NOTHING = {
    "is_exact": True, "table_bytes": 0, "toast_bytes": 0, "index_bytes": 0, "estimated_rows": 0, "live_rows": 0, "dead_rows": 0,
    "inserted": 0, "updated": 0, "hot_updated": 0, "deleted": 0, "changed_since_analyze": 0, "seq_scans": 0, "seq_rows_read": 0,
    "index_scans": 0, "last_vacuum": None, "last_analyze": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """A table, or a partitioned one with all its ``partitions``.

    Bytes are exact where ``is_exact``; otherwise (it is locked, or has more than 50 partitions) those of the last VACUUM or ANALYZE, which
    are 0 for a table that saw neither. ``heap_bytes`` with the maps of free and visible rows, ``toast_bytes`` with its index.
    ``estimated_rows`` is the planner's number (None: never analysed). All counters since the server's statistics were last reset.
    """

    schema: str
    name: str
    kind: Literal["table", "partitioned", "materialized view"]
    partitions: int
    heap_bytes: int
    toast_bytes: int
    index_bytes: int
    is_exact: bool
    estimated_rows: int | None
    live_rows: int
    dead_rows: int
    inserted: int
    updated: int
    hot_updated: int
    deleted: int
    changed_since_analyze: int
    seq_scans: int
    seq_rows_read: int
    index_scans: int
    last_vacuum: datetime | None
    last_analyze: datetime | None
    growth: Growth

    @property
    def total_bytes(self) -> int:
        """Heap, TOAST and indexes."""
        return self.heap_bytes + self.toast_bytes + self.index_bytes

    @property
    def dead_percent(self) -> float:
        """Dead rows of all rows."""
        return _percent(self.dead_rows, self.live_rows + self.dead_rows) or 0.0

    @property
    def index_scan_percent(self) -> float | None:
        """Index scans of all scans; None before the first."""
        return _percent(self.index_scans, self.index_scans + self.seq_scans)

    @property
    def hot_percent(self) -> float | None:
        """Updates that changed no index, of all updates; None before the first."""
        return _percent(self.hot_updated, self.updated)


@dataclass(frozen=True, slots=True)
class TableSizes:
    """A page of tables, largest first, at ``at``, the server's time; ``total`` are all. ``since``: from when on the counters count."""

    total: int
    at: datetime
    since: datetime
    tables: tuple[TableSize, ...]
    findings: tuple[Finding, ...]


async def table_sizes(asked: Asked, *, limit: int = 50, offset: int = 0) -> TableSizes:
    """``limit`` (at most 100) tables from ``offset`` on, partitions under their parent.

    The order is that of the sizes which VACUUM and ANALYZE wrote down, so that ten thousand tables cost one pass over the catalogs; a page
    is put in order by the sizes that it shows.
    """
    server = await standing(asked)
    rows = await asked.fetch(_PAGE, min(limit, 100), offset, None)
    tables = await _growing(asked, await _told(asked, rows, server), server.at)
    tables = sorted(tables, key=lambda it: (-it.total_bytes, it.schema, it.name))
    total = rows[0]["total"] if rows else 0
    return TableSizes(total, server.at, server.since, tuple(tables), tuple(table_findings(tables)))


async def table_size(asked: Asked, oid: int) -> TableSize | None:
    """One table, by its oid; None when it is gone, or no table of users."""
    server = await standing(asked)
    rows = await asked.fetch(_PAGE, 1, 0, oid)
    found = await _growing(asked, await _told(asked, rows, server), server.at)
    return found[0] if found else None


async def sizes_to_store(asked: Asked, *, limit: int = 500) -> tuple[datetime, list[TableSize]]:
    """The server's time, and the ``limit`` largest tables as they are worth a sample: without those that are locked now, whose sizes would
    be of another kind than the samples before.
    """
    server = await standing(asked)
    tables = await _told(asked, await asked.fetch(_PAGE, limit, 0, None), server)
    return server.at, [it for it in tables if it.is_exact or it.partitions > _MOST_LEAVES]


def table_findings(
    tables: Sequence[TableSize],
    *,
    dead_percent: float = 20.0,
    least_rows: int = 10_000,
    stale_percent: float = 20.0,
) -> list[Finding]:
    """Tables of ``least_rows`` or more with many dead rows, and with statistics that are old."""
    found = list[Finding]()
    for table in tables:
        rows = table.live_rows + table.dead_rows
        if rows < least_rows:
            continue
        if table.dead_percent >= dead_percent:
            found.append(_dead(table))
        if table.changed_since_analyze >= rows * stale_percent / 100:
            found.append(_stale(table))
    return found


def _dead(table: TableSize) -> Finding:
    return Finding(
        check="tables.dead_rows",
        severity="critical" if table.dead_percent >= 50 else "warning",
        subject=f"{table.schema}.{table.name}",
        title=f"{table.dead_percent} % of the rows of {table.name} are dead",
        evidence=f"{table.dead_rows} of {table.live_rows + table.dead_rows} rows, {size(table.total_bytes)},"
        f" last VACUUM {moment(table.last_vacuum)}",
        fix="Find what keeps VACUUM from them (an old transaction, a slot, a standby), or let autovacuum come sooner to this table",
    )


def _stale(table: TableSize) -> Finding:
    return Finding(
        check="tables.stale_statistics",
        severity="info",
        subject=f"{table.schema}.{table.name}",
        title=f"The planner's statistics of {table.name} are old",
        evidence=f"{table.changed_since_analyze} rows changed since ANALYZE, {moment(table.last_analyze)}",
        fix="ANALYZE it; advice on its plans and indexes is noise before",
    )


async def _told(asked: Asked, rows: Sequence[Any], server: Standing) -> list[TableSize]:
    pairs = [(row["root"], leaf) for row in rows for leaf in row["leaves"]]
    numbers = await asked.fetch(
        _NUMBERS, [root for root, _ in pairs], [leaf for _, leaf in pairs], _MOST_LEAVES
    )
    by_root = {row["root"]: row for row in numbers}
    return [_table(row, dict(by_root.get(row["root"], _NOTHING)), server) for row in rows]


async def _growing(asked: Asked, tables: Sequence[TableSize], now: datetime) -> list[TableSize]:
    """With the growth that was measured, where it was."""
    measured = await measured_growth(asked, [(it.schema, it.name) for it in tables], now)
    return [replace(it, growth=measured.get((it.schema, it.name), it.growth)) for it in tables]


def _table(row: Any, numbers: dict[str, Any], server: Standing) -> TableSize:
    numbers.pop("root", None)
    table_bytes, toast, indexes = (
        numbers.pop("table_bytes"),
        numbers.pop("toast_bytes"),
        numbers.pop("index_bytes"),
    )
    if numbers["is_exact"]:
        heap = table_bytes - toast
    else:
        heap, toast, indexes = (row[part] * server.block_size for part in ("heap", "toast", "indexes"))
    turnover = Turnover(
        numbers["inserted"],
        numbers["deleted"],
        numbers["live_rows"],
        heap + toast + indexes,
        server.since,
        server.at,
        server.stats_reset is None,
    )
    return TableSize(
        schema=row["schema"],
        name=row["name"],
        kind=_KINDS[row["kind"]],
        partitions=len(row["leaves"]) if row["kind"] == "p" else 0,
        heap_bytes=heap,
        toast_bytes=toast,
        index_bytes=indexes,
        growth=estimated_growth(turnover),
        **numbers,
    )


def _percent(part: int, whole: int) -> float | None:
    return round(100.0 * part / whole, 1) if whole else None
