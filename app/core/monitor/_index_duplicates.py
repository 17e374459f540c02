"""Indexes that another one makes superfluous: the same again, or the beginning of a longer one."""

from dataclasses import dataclass
from typing import Any, Literal

from app.core.monitor._figures import size
from app.core.monitor._index_ddl import alembic_drop, drop_index
from app.core.monitor._panel import Finding
from app.core.monitor._relations import USER_SCHEMA
from app.core.monitor._server import Asked

# Expressions and predicates are compared as the server stores them, without where they stood in the statement that made them: to print them
# would lock the table. An index of a partition that belongs to one of the whole table is judged with that.
# https://www.postgresql.org/docs/current/catalog-pg-index.html
_PAIRS = f"""
WITH keyed AS MATERIALIZED (
    SELECT i.indexrelid AS oid, i.indrelid, c.relam, i.indnkeyatts AS number,
           (i.indkey::int2[])[0:i.indnkeyatts - 1] AS keys, (i.indkey::int2[])[i.indnkeyatts:i.indnatts - 1] AS included,
           (i.indclass::oid[])[0:i.indnkeyatts - 1] AS classes, (i.indcollation::oid[])[0:i.indnkeyatts - 1] AS collations,
           (i.indoption::int2[])[0:i.indnkeyatts - 1] AS options,
           regexp_replace(i.indexprs::text, ':location -?\\d+', '', 'g') AS expressions,
           regexp_replace(i.indpred::text, ':location -?\\d+', '', 'g') AS predicate,
           NOT (i.indisunique OR i.indisprimary OR i.indisexclusion OR i.indisreplident OR i.indisclustered OR EXISTS (
               SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))) AS may_go
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE i.indisvalid AND i.indislive AND NOT c.relispartition AND {USER_SCHEMA}
), pairs AS (
    SELECT DISTINCT ON (a.oid) a.oid, b.oid AS other, a.number = b.number AS is_same, a.may_go
    FROM keyed a JOIN keyed b ON b.indrelid = a.indrelid AND b.oid <> a.oid AND b.relam = a.relam
    WHERE b.predicate IS NOT DISTINCT FROM a.predicate AND b.number >= a.number
      AND b.keys[1:a.number] = a.keys AND b.classes[1:a.number] = a.classes
      AND b.collations[1:a.number] = a.collations AND b.options[1:a.number] = a.options
      AND a.included <@ (b.keys || b.included)
      AND CASE WHEN a.number = b.number
          THEN a.expressions IS NOT DISTINCT FROM b.expressions AND a.may_go >= b.may_go
               AND (a.may_go > b.may_go OR cardinality(b.included) > cardinality(a.included)
                    OR (cardinality(b.included) = cardinality(a.included) AND a.oid > b.oid))
          ELSE a.may_go AND 0 <> ALL (a.keys) AND a.relam = (SELECT m.oid FROM pg_catalog.pg_am m WHERE m.amname = 'btree') END
    ORDER BY a.oid, a.number = b.number DESC, b.may_go, b.oid
)
SELECT n.nspname::text AS schema, r.relname::text AS table, c.relname::text AS name, o.relname::text AS covered_by,
       p.is_same, p.may_go, c.relkind = 'I' AS is_partitioned, s.bytes, s.scans, t.bytes AS other_bytes
FROM pairs p JOIN pg_catalog.pg_class c ON c.oid = p.oid JOIN pg_catalog.pg_class o ON o.oid = p.other
JOIN pg_catalog.pg_index i ON i.indexrelid = p.oid JOIN pg_catalog.pg_class r ON r.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SIZE_OF(p.oid)) s CROSS JOIN LATERAL (SIZE_OF(p.other)) t
ORDER BY s.bytes DESC, n.nspname, c.relname LIMIT $1
"""  # noqa: S608 - constants only
_SIZE = """SELECT sum(x.relpages)::bigint * current_setting('block_size')::bigint AS bytes,
    sum(pg_catalog.pg_stat_get_numscans(x.oid))::bigint AS scans
    FROM unnest(ARRAY(SELECT {0} UNION SELECT q.relid FROM pg_catalog.pg_partition_tree({0}) q)) AS part(oid)
    JOIN pg_catalog.pg_class x ON x.oid = part.oid"""
_SQL = _PAIRS.replace("SIZE_OF(p.oid)", _SIZE.format("p.oid")).replace(
    "SIZE_OF(p.other)", _SIZE.format("p.other")
)


@dataclass(frozen=True, slots=True)
class RedundantIndex:
    """An index that ``covered_by``, another of its table, makes superfluous.

    ``kind``: ``duplicate`` is the same again, ``prefix`` the beginning of a longer one. ``ddl`` and ``alembic`` drop it; there are none for
    unique indexes and those that a constraint, a replica identity or CLUSTER needs: what to do about two of these is for a person to
    decide. ``other_bytes`` is the size of ``covered_by``.
    """

    schema: str
    table: str
    name: str
    kind: Literal["duplicate", "prefix"]
    covered_by: str
    bytes: int
    other_bytes: int
    scans: int
    ddl: tuple[str, ...]
    alembic: str | None


async def redundant_indexes(asked: Asked, *, limit: int = 100) -> tuple[RedundantIndex, ...]:
    """Largest first. Compared are method, columns in order, operator classes, collations, directions, expressions, predicate; INCLUDE is
    superfluous only where the other one has those columns too.
    """
    return tuple(_told(row) for row in await asked.fetch(_SQL, limit))


def redundant_findings(indexes: tuple[RedundantIndex, ...]) -> list[Finding]:
    """One for each: a duplicate is a warning, a prefix worth knowing."""
    return [
        Finding(
            check=f"indexes.{index.kind}",
            severity="warning" if index.kind == "duplicate" and index.ddl else "info",
            subject=f"{index.schema}.{index.name}",
            title=f"The index {index.name} of {index.table} is "
            + ("the same as" if index.kind == "duplicate" else "the beginning of")
            + f" {index.covered_by}",
            evidence=f"{size(index.bytes)} beside {size(index.other_bytes)}, {index.scans} scans",
            fix="Drop it; the other one serves its reads"
            if index.ddl
            else "Both hold a rule; keep the one that the constraint or the replication needs",
            ddl=index.ddl,
        )
        for index in indexes
    ]


def _told(row: Any) -> RedundantIndex:
    schema, table, name, whole = row["schema"], row["table"], row["name"], row["is_partitioned"]
    return RedundantIndex(
        schema=schema,
        table=table,
        name=name,
        kind="duplicate" if row["is_same"] else "prefix",
        covered_by=row["covered_by"],
        bytes=row["bytes"],
        other_bytes=row["other_bytes"],
        scans=row["scans"],
        ddl=(drop_index(schema, name, is_partitioned=whole),) if row["may_go"] else (),
        alembic=alembic_drop(schema, table, name, is_partitioned=whole) if row["may_go"] else None,
    )
