"""Questions to the catalogs about the tables of a statement. Statistics are read, rows are not."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from app.core.monitor._server import Asked
from app.core.monitor.advice._expressions import Column
from app.core.monitor.advice._reading import read
from app.core.monitor.advice._tables import ColumnFacts, IndexFacts, KeyFacts, TableFacts, bare, predicate_of

# A partition stands for its root: an index is made there. https://www.postgresql.org/docs/current/functions-admin.html
_TABLES = """
WITH named AS (
    SELECT coalesce(pg_catalog.pg_partition_root(c.oid)::oid, c.oid) AS root, c.oid AS member
    FROM unnest($1::text[], $2::text[]) AS w(schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
), leaves AS (
    SELECT r.root, l.oid AS leaf, l.reltuples, l.relpages, l.relallvisible
    FROM (SELECT DISTINCT root FROM named) r
    JOIN LATERAL (
        SELECT r.root AS relid WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_partition_tree(r.root::regclass))
        UNION SELECT t.relid::oid FROM pg_catalog.pg_partition_tree(r.root::regclass) t WHERE t.isleaf
    ) t ON true JOIN pg_catalog.pg_class l ON l.oid = t.relid
)
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       sum(greatest(l.reltuples, 0))::float8 AS rows, sum(l.relpages)::bigint AS pages, sum(l.relallvisible)::bigint AS visible,
       bool_or(l.reltuples >= 0) AS is_counted,
       sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::bigint AS writes, sum(s.n_tup_upd)::bigint AS updates,
       sum(s.n_tup_hot_upd)::bigint AS hot, sum(s.n_mod_since_analyze)::bigint AS changes,
       (SELECT d.stats_reset FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()) AS since,
       pg_catalog.pg_postmaster_start_time() AS started,
       (SELECT pg_catalog.array_agg(m.relname::text) FROM named x JOIN pg_catalog.pg_class m ON m.oid = x.member
        WHERE x.root = c.oid) AS members,
       (SELECT pg_catalog.array_agg(mn.nspname::text) FROM named x JOIN pg_catalog.pg_class m ON m.oid = x.member
        JOIN pg_catalog.pg_namespace mn ON mn.oid = m.relnamespace WHERE x.root = c.oid) AS member_schemas,
       (pg_catalog.array_agg(l.leaf ORDER BY l.reltuples DESC))[1] AS largest,
       (SELECT a.attname::text FROM pg_catalog.pg_partitioned_table p
        JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
        WHERE p.partrelid = c.oid AND p.partstrat = 'l') AS listed
FROM leaves l JOIN pg_catalog.pg_class c ON c.oid = l.root JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = l.leaf
GROUP BY c.oid, n.nspname, c.relname, c.relkind
"""
_COLUMNS = """
SELECT a.attrelid AS relation, a.attname::text AS name, pg_catalog.format_type(a.atttypid, NULL) AS type, a.atttypid AS type_oid,
       a.attnotnull AS is_not_null,
       EXISTS (SELECT FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod AND m.amname = 'btree'
               WHERE o.opcdefault AND o.opcintype IN (t.oid, t.typbasetype, CASE t.typtype WHEN 'e' THEN 3500 WHEN 'r' THEN 3831 END,
                     CASE WHEN t.typcategory = 'A' THEN 2277 END,
                     (SELECT k.casttarget FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_type kt ON kt.oid = k.casttarget
                      WHERE k.castsource = t.oid AND k.castmethod = 'b' AND k.castcontext = 'i' AND kt.typispreferred LIMIT 1)))
           AS has_btree,
       a.attcollation IN (950, 951) OR (a.attcollation = 100 AND $2) OR coalesce(l.collcollate IN ('C', 'POSIX'), false)
           OR coalesce(l.collprovider = 'b', false) AS sorts_bytewise,
       ARRAY(SELECT pg_catalog.format_type(k.casttarget, NULL) FROM pg_catalog.pg_cast k
             WHERE k.castsource = t.oid AND k.castmethod = 'b'
             UNION SELECT pg_catalog.format_type(t.typbasetype, NULL) WHERE t.typbasetype <> 0
             UNION SELECT pg_catalog.format_type(t.oid, NULL)) AS same_as,
       s.n_distinct, s.null_frac, s.correlation, s.avg_width, s.most_common_freqs::float8[] AS common
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
LEFT JOIN LATERAL (
    SELECT p.* FROM pg_catalog.pg_stats p WHERE p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname
    ORDER BY p.inherited DESC LIMIT 1) s ON true
WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
"""
_INDEXES = """
SELECT i.indrelid AS relation, i.indexrelid AS oid, c.relname::text AS name, m.amname::text AS method, i.indisunique AS is_unique,
       i.indisvalid AND i.indisready AS is_valid, i.indnkeyatts AS keys, c.relpages AS pages,
       EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')) AS is_constraint,
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, g, false) FROM pg_catalog.generate_series(1, i.indnatts) g) AS definitions,
       ARRAY(SELECT i.indkey[g] = 0 FROM pg_catalog.generate_series(0, i.indnatts - 1) g) AS are_expressions,
       ARRAY(SELECT a.attname::text FROM pg_catalog.generate_series(0, i.indnatts - 1) g
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[g] ORDER BY g) AS names,
       ARRAY(SELECT o.opcname::text FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) g
             JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[g] ORDER BY g) AS classes,
       ARRAY(SELECT o.opcdefault FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) g
             JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[g] ORDER BY g) AS are_default,
       ARRAY(SELECT i.indoption[g]::int FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) g) AS options,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = c.relam
WHERE i.indrelid = ANY($1::oid[]) ORDER BY c.relname
"""
# The database's own order of text. ``datlocale`` and the provider 'b' came with PostgreSQL 17.
_BYTEWISE = """
SELECT (pg_catalog.to_jsonb(d) ->> 'datlocprovider') = 'b'
       OR ((pg_catalog.to_jsonb(d) ->> 'datlocprovider') = 'c' AND d.datcollate IN ('C', 'POSIX'))
FROM pg_catalog.pg_database d WHERE d.datname = current_database()
"""
_MIN_DAYS = 1 / 24
_STALE_ROWS = 1_000
_STALE_SHARE = 0.3


async def tables_of(
    connection: Asked, names: Iterable[tuple[str, str]]
) -> Mapping[tuple[str, str], TableFacts]:
    """What is known of each (schema, name); partitions are answered with their root. Names that do not exist are left out."""
    wanted = sorted(set(names))
    rows = await connection.fetch(_TABLES, [it[0] for it in wanted], [it[1] for it in wanted])
    oids = [row["oid"] for row in rows]
    largest = {row["largest"]: row["oid"] for row in rows}
    bytewise = bool(await connection.fetchval(_BYTEWISE))
    columns = await connection.fetch(_COLUMNS, sorted({*oids, *largest}), bytewise)
    indexes = await connection.fetch(_INDEXES, oids)
    found = {}
    for row in rows:
        # Statistics of a partitioned table exist once somebody has run ANALYZE on it; a partition's own are the next best.
        own = [it for it in columns if it["relation"] == row["oid"]]
        if all(it["n_distinct"] is None for it in own):
            own = [it for it in columns if it["relation"] == row["largest"]] or own
        table = _table(row, own, [it for it in indexes if it["relation"] == row["oid"]])
        for member in (
            *zip(row["member_schemas"], row["members"], strict=True),
            (row["schema"], row["name"]),
        ):
            found[member] = table
    return found


def _table(row: Any, columns: list[Any], indexes: list[Any]) -> TableFacts:
    days = (datetime.now(UTC) - (row["since"] or row["started"])).total_seconds() / 86400
    updates = row["updates"] or 0
    return TableFacts(
        oid=row["oid"],
        schema=row["schema"],
        name=row["name"],
        is_partitioned=row["kind"] == "p",
        is_ordinary=row["kind"] in {"r", "p", "m"},
        rows=row["rows"],
        pages=int(row["pages"]),
        visible=min(1.0, row["visible"] / max(1, row["pages"])),
        is_analyzed=bool(row["is_counted"])
        and (row["rows"] == 0 or any(it["n_distinct"] is not None for it in columns)),
        writes_per_day=None if days < _MIN_DAYS or not row["writes"] else row["writes"] / days,
        hot_percent=round(100.0 * row["hot"] / updates, 1) if updates else None,
        is_stale=(row["changes"] or 0) > max(_STALE_ROWS, row["rows"] * _STALE_SHARE),
        columns={it["name"]: _column(it, row["rows"]) for it in columns},
        indexes=tuple(_index(it) for it in indexes),
        listed=row["listed"],
    )


def _column(row: Any, rows: float) -> ColumnFacts:
    distinct = row["n_distinct"]
    if distinct is not None and distinct < 0:
        distinct = -distinct * rows
    return ColumnFacts(
        name=row["name"],
        type=row["type"],
        type_oid=row["type_oid"],
        has_btree=row["has_btree"],
        sorts_bytewise=row["sorts_bytewise"],
        is_not_null=row["is_not_null"],
        same_as=frozenset(row["same_as"]),
        distinct=None if distinct is None else max(1.0, float(distinct)),
        null_fraction=row["null_frac"] or 0.0,
        correlation=row["correlation"] or 0.0,
        width=row["avg_width"] or 8,
        common=tuple(row["common"] or ()),
    )


def _index(row: Any) -> IndexFacts:
    expressions = [
        bare(read(definition)) if is_expression else Column(None, name)
        for definition, is_expression, name in zip(
            row["definitions"], row["are_expressions"], row["names"], strict=True
        )
    ]
    keys = zip(expressions, row["classes"], row["are_default"], row["options"], strict=False)
    return IndexFacts(
        name=row["name"],
        method=row["method"],
        keys=tuple(
            KeyFacts(expression, name, is_default, bool(option & 1), bool(option & 2))
            for expression, name, is_default, option in keys
        ),
        include=tuple(row["names"][row["keys"] :]),
        is_unique=row["is_unique"],
        is_constraint=row["is_constraint"],
        is_valid=row["is_valid"],
        predicate=predicate_of(row["predicate"]),
        pages=row["pages"],
    )
