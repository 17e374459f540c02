"""Indexes that cost writes and serve nobody, because building them did not end."""

import re
from dataclasses import dataclass
from typing import Any

from app.core.monitor._figures import size
from app.core.monitor._index_ddl import drop_index, reindex
from app.core.monitor._panel import Finding
from app.core.monitor._relations import USER_SCHEMA
from app.core.monitor._server import Asked

# One that is being built at this moment is invalid too. A row of the progress view that our role may not read could be about any index.
# https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
_SQL = f"""
SELECT n.nspname::text AS schema, r.relname::text AS table, c.relname::text AS name, i.indisunique AS is_unique,
       c.relpages::bigint * current_setting('block_size')::bigint AS bytes, c.relkind = 'I' AS is_partitioned, i.indisready AS is_written
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_class r ON r.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND {USER_SCHEMA}
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                  WHERE p.datname = current_database() AND (p.index_relid = i.indexrelid OR p.relid IS NULL))
ORDER BY 5 DESC, 1, 3 LIMIT $1
"""  # noqa: S608 - constants only
_LEFT_OVER = re.compile(r"_cc(?:new|old)\d*$")


@dataclass(frozen=True, slots=True)
class InvalidIndex:
    """An index that no statement may use. ``is_written``: the table's writes pay for it all the same. ``cause`` and ``ddl`` say what it is
    left from, and what ends it; none where partitions lack their part.
    """

    schema: str
    table: str
    name: str
    is_unique: bool
    is_written: bool
    bytes: int
    cause: str
    ddl: tuple[str, ...]


async def invalid_indexes(asked: Asked, *, limit: int = 100) -> tuple[InvalidIndex, ...]:
    """Largest first, without those that are being built now."""
    return tuple(_told(row) for row in await asked.fetch(_SQL, limit))


def invalid_findings(indexes: tuple[InvalidIndex, ...]) -> list[Finding]:
    """Each is a warning."""
    return [
        Finding(
            check="indexes.invalid",
            severity="warning",
            subject=f"{index.schema}.{index.name}",
            title=f"The index {index.name} of {index.table} is invalid: no statement uses it",
            evidence=f"{size(index.bytes)}" + ("; every write pays for it" if index.is_written else ""),
            fix=index.cause,
            ddl=index.ddl,
        )
        for index in indexes
    ]


def _told(row: Any) -> InvalidIndex:
    schema, name = row["schema"], row["name"]
    cause, ddl = _meant(schema, name, row["is_unique"], row["is_partitioned"])
    return InvalidIndex(
        schema, row["table"], name, row["is_unique"], row["is_written"], row["bytes"], cause, ddl
    )


def _meant(schema: str, name: str, is_unique: bool, is_partitioned: bool) -> tuple[str, tuple[str, ...]]:
    if is_partitioned:
        return "Partitions lack their part of it: build it on each and ATTACH it", ()
    if _LEFT_OVER.search(name):
        return "REINDEX CONCURRENTLY was interrupted and left this: drop it", (drop_index(schema, name),)
    if is_unique:
        return (
            "CREATE UNIQUE INDEX CONCURRENTLY failed, most often on rows that are there twice: remove those and build it again, or drop it",
            (reindex(schema, name),),
        )
    return "CREATE INDEX CONCURRENTLY was interrupted: build it again, or drop it", (reindex(schema, name),)
