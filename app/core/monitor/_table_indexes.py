"""The indexes of one table: what they are, how large, and how much they are used."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.db import shape_of
from app.core.monitor._bloat import Bloat, Width, btree_bloat
from app.core.monitor._relations import LOCKED
from app.core.monitor._server import Asked
from app.core.monitor._standing import Standing

# The server prints a definition, and measures a size, only when it gets a lock: there is neither while somebody holds the table alone.
# https://www.postgresql.org/docs/current/catalog-pg-index.html
_SQL = f"""
WITH {LOCKED}
SELECT c.relname::text AS name, m.amname::text AS method, c.relkind::text AS kind, i.indisvalid AS is_valid, i.indisunique AS is_unique,
       i.indisprimary AS is_primary, i.indpred IS NOT NULL AS is_partial, i.indkey::int2[] AS attributes, i.indnkeyatts::int AS key_columns,
       (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum) AS names,
       (SELECT k.conname::text FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') LIMIT 1)
           AS constraint,
       CASE WHEN f.is_free THEN pg_catalog.pg_get_indexdef(i.indexrelid) END AS definition,
       CASE WHEN f.is_free AND c.relkind = 'i' THEN pg_catalog.pg_relation_size(i.indexrelid) END AS exact_bytes,
       p.pages, p.scans, p.last_scan, p.entries_read, p.rows_fetched, c.reltuples::float8 AS entries, c.relpages::int AS own_pages,
       coalesce((SELECT o.option_value::int FROM pg_catalog.pg_options_to_table(c.reloptions) o WHERE o.option_name = 'fillfactor'), 90)
           AS fill_percent, current_setting('block_size')::int AS block_size
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = c.relam
CROSS JOIN LATERAL (SELECT NOT EXISTS (SELECT FROM locked l WHERE l.relation IN (i.indexrelid, i.indrelid)) AS is_free) f
CROSS JOIN LATERAL (SELECT sum(x.relpages)::bigint AS pages, sum(pg_catalog.pg_stat_get_numscans(x.oid))::bigint AS scans,
        max(LAST_SCAN) AS last_scan, sum(pg_catalog.pg_stat_get_tuples_returned(x.oid))::bigint AS entries_read,
        sum(pg_catalog.pg_stat_get_tuples_fetched(x.oid))::bigint AS rows_fetched
    FROM unnest(ARRAY(SELECT i.indexrelid UNION SELECT q.relid FROM pg_catalog.pg_partition_tree(i.indexrelid) q)) AS part(oid)
    JOIN pg_catalog.pg_class x ON x.oid = part.oid) p
WHERE i.indrelid = $1 ORDER BY p.pages DESC, c.relname
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True, kw_only=True)
class TableIndex:
    """An index of a table; of a partitioned one together with those of the partitions.

    ``columns`` are the key's, an expression stands as ``(expression)``; ``included`` what it only carries. ``definition`` is without
    literal values, and None while the table is locked. ``is_exact``: bytes are those of this moment and not of the last VACUUM or ANALYZE.
    ``bloat`` is an estimate, for b-trees on columns.
    """

    name: str
    method: str
    columns: tuple[str, ...]
    included: tuple[str, ...]
    definition: str | None
    constraint: str | None
    is_valid: bool
    is_unique: bool
    is_primary: bool
    is_partial: bool
    bytes: int
    is_exact: bool
    scans: int
    last_scan: datetime | None
    entries_read: int
    rows_fetched: int
    bloat: Bloat | None


async def table_indexes(
    asked: Asked, oid: int, widths: Mapping[int, Width], *, server: Standing
) -> tuple[TableIndex, ...]:
    """Those of one table, largest first. ``widths``: what is known of its columns, by their numbers."""
    sql = _SQL.replace("LAST_SCAN", server.last_scan("x.oid"))
    return tuple(_told(row, widths) for row in await asked.fetch(sql, oid))


def _told(row: Any, widths: Mapping[int, Width]) -> TableIndex:
    names = tuple(name or "(expression)" for name in row["names"])
    number = row["key_columns"]
    exact, definition = row["exact_bytes"], row["definition"]
    copied = (
        "name", "method", "constraint", "is_valid", "is_unique", "is_primary", "is_partial", "scans", "last_scan", "entries_read",
        "rows_fetched",
    )  # fmt: skip
    return TableIndex(
        **{name: row[name] for name in copied},
        columns=names[:number],
        included=names[number:],
        definition=None if definition is None else shape_of(definition),
        bytes=row["pages"] * row["block_size"] if exact is None else exact,
        is_exact=exact is not None,
        bloat=_bloat(row, widths),
    )


def _bloat(row: Any, widths: Mapping[int, Width]) -> Bloat | None:
    if row["method"] != "btree" or row["kind"] != "i" or row["is_partial"]:
        return None
    columns = [widths.get(number) for number in row["attributes"]]
    return btree_bloat(
        columns,
        rows=row["entries"],
        pages=row["own_pages"],
        block_size=row["block_size"],
        fill_percent=row["fill_percent"],
    )
