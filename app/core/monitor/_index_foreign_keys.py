"""Foreign keys without an index: deleting one referenced row reads the whole referencing table."""

from dataclasses import dataclass
from typing import Any

from app.core.monitor._figures import size
from app.core.monitor._index_ddl import alembic_create, alembic_run, create_index, index_name, reindex
from app.core.monitor._panel import Finding
from app.core.monitor._relations import USER_SCHEMA
from app.core.monitor._server import Asked

# An index serves when its first columns are those of the key, in any order. A partial one does when it only leaves out NULL, because no
# lookup of the constraint asks for that.
# https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK
_SERVES = """
    i.indrelid = f.conrelid AND i.indnkeyatts >= cardinality(f.conkey)
    AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey
    AND (SELECT m.amname FROM pg_catalog.pg_class x JOIN pg_catalog.pg_am m ON m.oid = x.relam
         WHERE x.oid = i.indexrelid) IN ('btree', 'hash')
    AND (i.indpred IS NULL OR (i.indpred::text ~ '^\\{NULLTEST :arg \\{VAR [^{}]*\\} :nulltesttype 1 [^{}]*\\}$'
         AND substring(i.indpred::text from ':varattno (\\d+)')::int2 = ANY (f.conkey)))
"""
_SQL = f"""
SELECT n.nspname::text AS schema, c.relname::text AS table, f.conname::text AS constraint,
       (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY AS k(attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum) AS columns,
       pn.nspname || '.' || p.relname AS references_table, s.rows, s.bytes, s.partitions, d.changes,
       (SELECT x.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
        WHERE NOT i.indisvalid AND {_SERVES} LIMIT 1) AS invalid_index,
       (SELECT array_agg(x.relname::text) FROM pg_catalog.pg_class x WHERE x.relnamespace = c.relnamespace
        AND x.relname LIKE 'ix\\_%' AND x.relkind IN ('i', 'I')) AS taken
FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
CROSS JOIN LATERAL (SELECT coalesce(sum(greatest(x.reltuples, pg_catalog.pg_stat_get_live_tuples(x.oid))), 0)::bigint AS rows,
        coalesce(sum(x.relpages), 0)::bigint * current_setting('block_size')::bigint AS bytes,
        array_agg(ARRAY[y.nspname::text, x.relname::text] ORDER BY y.nspname, x.relname) FILTER (WHERE c.relkind = 'p') AS partitions
    FROM unnest(CASE WHEN c.relkind = 'p' THEN ARRAY(SELECT q.relid::oid FROM pg_catalog.pg_partition_tree(f.conrelid) q
        WHERE q.isleaf AND q.level > 0) ELSE ARRAY[f.conrelid] END) AS leaf(oid)
    JOIN pg_catalog.pg_class x ON x.oid = leaf.oid JOIN pg_catalog.pg_namespace y ON y.oid = x.relnamespace) s
CROSS JOIN LATERAL (SELECT coalesce(sum(pg_catalog.pg_stat_get_tuples_deleted(leaf.oid)), 0)::bigint AS changes
    FROM unnest(CASE WHEN p.relkind = 'p' THEN ARRAY(SELECT q.relid::oid FROM pg_catalog.pg_partition_tree(f.confrelid) q)
        ELSE ARRAY[f.confrelid] END) AS leaf(oid)) d
WHERE f.contype = 'f' AND f.conparentid = 0 AND {USER_SCHEMA}
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indisvalid AND {_SERVES})
ORDER BY s.rows DESC, 1, 2, 3 LIMIT $1
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True)
class UnindexedKey:
    """A foreign key whose columns no index begins with. ``rows`` and ``bytes`` are of the table that references, estimated; ``deletes`` the
    rows that were deleted from the referenced one since statistics count. ``ddl`` and ``alembic`` make the index.
    """

    schema: str
    table: str
    constraint: str
    columns: tuple[str, ...]
    references: str
    rows: int
    bytes: int
    deletes: int
    ddl: tuple[str, ...]
    alembic: str


async def unindexed_keys(asked: Asked, *, limit: int = 100) -> tuple[UnindexedKey, ...]:
    """Those of the largest tables first. Small tables are among them: there it hardly matters."""
    return tuple(_told(row) for row in await asked.fetch(_SQL, limit))


def key_findings(keys: tuple[UnindexedKey, ...], *, least_rows: int = 1_000) -> list[Finding]:
    """For tables of ``least_rows`` or more; a warning where referenced rows are deleted."""
    return [
        Finding(
            check="indexes.foreign_key",
            severity="warning" if key.deletes else "info",
            subject=f"{key.schema}.{key.table}",
            title=f"No index for the foreign key {key.constraint} ({', '.join(key.columns)})",
            evidence=f"about {key.rows} rows, {size(key.bytes)}, are read for each row deleted from {key.references};"
            f" {key.deletes} were",
            fix="Create the index, unless rows of the referenced table are never deleted or renumbered and nobody joins by it",
            ddl=key.ddl,
        )
        for key in keys
        if key.rows >= least_rows
    ]


def _told(row: Any) -> UnindexedKey:
    schema, table, columns = row["schema"], row["table"], tuple(row["columns"])
    partitions = [(own, name) for own, name in row["partitions"] or ()]
    if row["invalid_index"] is not None:
        ddl: tuple[str, ...] = (reindex(schema, row["invalid_index"]),)
        alembic = alembic_run(ddl)
    else:
        name = index_name(table, columns, frozenset(row["taken"] or ()))
        ddl = create_index(schema, table, name, columns, partitions)
        alembic = alembic_run(ddl) if partitions else alembic_create(schema, table, name, columns)
    return UnindexedKey(
        schema=schema,
        table=table,
        constraint=row["constraint"],
        columns=columns,
        references=row["references_table"],
        rows=row["rows"],
        bytes=row["bytes"],
        deletes=row["changes"],
        ddl=ddl,
        alembic=alembic,
    )
