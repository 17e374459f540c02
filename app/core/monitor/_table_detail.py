"""One table: its columns as the planner sees them, indexes, empty space, VACUUM, growth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.errors import NotFound
from app.core.monitor._bloat import Bloat, Width, heap_bloat
from app.core.monitor._figures import size
from app.core.monitor._growth import SizePoint, size_series
from app.core.monitor._panel import Finding
from app.core.monitor._relations import SCHEMAS, USER_SCHEMA
from app.core.monitor._server import Asked
from app.core.monitor._standing import standing
from app.core.monitor._table_indexes import TableIndex, table_indexes
from app.core.monitor._table_sizes import TableSize, table_findings, table_size
from app.core.monitor._table_vacuum import VacuumState, vacuum_state

_FIND = f"""
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, c.reltuples::float8 AS rows,
       c.relpages::int AS pages, pg_catalog.has_table_privilege(c.oid, 'SELECT') AS may_read,
       coalesce((SELECT o.option_value::int FROM pg_catalog.pg_options_to_table(c.reloptions) o WHERE o.option_name = 'fillfactor'), 100)
           AS fill_percent
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(schema, name, place)
JOIN pg_catalog.pg_class c ON c.relname = k.name JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND {USER_SCHEMA}
  AND CASE WHEN k.schema IS NULL THEN n.nspname = ANY({SCHEMAS}) ELSE n.nspname = k.schema END
ORDER BY k.place, pg_catalog.array_position({SCHEMAS}, n.nspname) LIMIT 1
"""  # noqa: S608 - constants only
# pg_stats shows what the role may read; of common values only how common they are, never the values.
# https://www.postgresql.org/docs/current/view-pg-stats.html
_COLUMNS = """
SELECT a.attnum::int AS number, a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS is_required, s.null_frac::float8 AS null_share, s.n_distinct::float8 AS n_distinct, s.avg_width AS width,
       s.correlation::float8 AS correlation, (s.most_common_freqs[1:10])::float8[] AS common_shares
FROM pg_catalog.pg_attribute a LEFT JOIN LATERAL (
    SELECT t.* FROM pg_catalog.pg_stats t WHERE t.schemaname = $2 AND t.tablename = $3 AND t.attname = a.attname
    ORDER BY t.inherited = $4 DESC LIMIT 1) s ON true
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStatistics:
    """A column, and what ANALYZE saw of it: all None before, or when the role may not read the table.

    ``null_share`` and ``common_shares`` (of the ten commonest values, which are not shown) 0 to 1; ``n_distinct`` as PostgreSQL keeps it:
    a number of values, or below 0 their share of the rows; ``width`` in bytes; ``correlation`` -1 to 1 with the order on disk.
    """

    number: int
    name: str
    type: str
    is_required: bool
    null_share: float | None
    n_distinct: float | None
    width: int | None
    correlation: float | None
    common_shares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDetail:
    """One table. ``note`` says why columns have no statistics, if they have none. ``bloat`` is an estimate of the heap's empty space, and
    ``vacuum`` what waits: both None for a partitioned table (ask for a partition). ``history``: sizes of the last week, hour by hour.
    """

    size: TableSize
    columns: tuple[ColumnStatistics, ...]
    note: str
    indexes: tuple[TableIndex, ...]
    bloat: Bloat | None
    vacuum: VacuumState | None
    history: tuple[SizePoint, ...]
    findings: tuple[Finding, ...]


async def table_detail(asked: Asked, name: str) -> TableDetail:
    """The table ``name``: ``schema.table``, or a name on the search path; letter by letter as the catalogs have it, or quoted as in SQL.

    Raises NotFound when there is no such table, materialized view or partition outside the system's schemas.
    """
    found = await _find(asked, name)
    server = await standing(asked)
    oid, is_whole = found["oid"], found["kind"] == "p"
    sized = await table_size(asked, oid)
    if sized is None:
        raise NotFound(f"There is no table {name}")
    columns = await _columns(asked, found)
    widths = {
        it.number: Width(it.null_share, it.width)
        for it in columns
        if it.width is not None and it.null_share is not None
    }
    heap = None if is_whole else _heap(found, columns, widths, server.block_size)
    vacuum = None if is_whole else await vacuum_state(asked, oid)
    findings = [*table_findings([sized]), *_bloat_findings(sized, heap)]
    return TableDetail(
        size=sized,
        columns=columns,
        note=_note(found, columns),
        indexes=await table_indexes(asked, oid, widths, server=server),
        bloat=heap,
        vacuum=vacuum,
        history=await size_series(asked, sized.schema, sized.name, server.at),
        findings=tuple(findings),
    )


async def table_size_of(asked: Asked, name: str) -> TableSize:
    """The numbers of one table. Raises as ``table_detail``."""
    found = await _find(asked, name)
    sized = await table_size(asked, found["oid"])
    if sized is None:
        raise NotFound(f"There is no table {name}")
    return sized


def meanings(name: str) -> list[tuple[str | None, str]]:
    """What ``name`` can mean, likeliest first: a schema (None: the search path) and a table. A dot can be part of either."""
    dots = [place for place, letter in enumerate(name) if letter == "."]
    split = [(_plain(name[:dot]), _plain(name[dot + 1 :])) for dot in dots]
    return [*split, (None, _plain(name))]


def _plain(part: str) -> str:
    if len(part) > 2 and part[0] == part[-1] == '"':
        return part[1:-1].replace('""', '"')
    return part


async def _find(asked: Asked, name: str) -> Any:
    meant = meanings(name)
    found = await asked.fetchrow(_FIND, [schema for schema, _ in meant], [table for _, table in meant])
    if found is None:
        raise NotFound(f"There is no table {name}; outside the search path write schema.table")
    return found


async def _columns(asked: Asked, found: Any) -> tuple[ColumnStatistics, ...]:
    rows = await asked.fetch(_COLUMNS, found["oid"], found["schema"], found["name"], found["kind"] == "p")
    return tuple(
        ColumnStatistics(**{**row, "common_shares": tuple(row["common_shares"] or ())}) for row in rows
    )


def _note(found: Any, columns: tuple[ColumnStatistics, ...]) -> str:
    if any(column.null_share is not None for column in columns):
        return ""
    if not found["may_read"]:
        return "The monitor's role may not read this table: grant it SELECT to see statistics"
    return "No statistics: it was never analysed, or had no rows then"


def _heap(
    found: Any, columns: tuple[ColumnStatistics, ...], widths: Mapping[int, Width], block_size: int
) -> Bloat | None:
    return heap_bloat(
        [widths.get(column.number) for column in columns],
        rows=found["rows"],
        pages=found["pages"],
        block_size=block_size,
        fill_percent=found["fill_percent"],
    )


def _bloat_findings(table: TableSize, heap: Bloat | None) -> list[Finding]:
    """From half empty and 100 MB on."""
    if heap is None or heap.percent < 50 or heap.bytes < 104_857_600:
        return []
    return [
        Finding(
            check="tables.bloat",
            severity="warning",
            subject=f"{table.schema}.{table.name}",
            title=f"About {heap.percent} % of {table.name} is empty space",
            evidence=f"about {size(heap.bytes)} of {size(table.heap_bytes)}, estimated from statistics",
            fix="pg_repack, or VACUUM FULL in a maintenance window (it locks the table); first find why VACUUM came too late",
        )
    ]
