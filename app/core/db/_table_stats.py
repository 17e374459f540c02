"""What the server knows about one table."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapper

from app.core.db._errors import DatabaseTimeout, translate
from app.core.errors import ConfigurationError, NotFound

# A partitioned table is the sum of its partitions; an ordinary one is its own only leaf.
_LEAVES = (
    "WITH wanted AS (SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relname = :table AND c.relkind IN ('r', 'p', 'm')"
    " AND CASE WHEN CAST(:schema AS text) IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)"
    " ELSE n.nspname = CAST(:schema AS text) END),"
    " leaves AS (SELECT w.oid AS root, coalesce(t.relid::oid, w.oid) AS oid FROM wanted w"
    " LEFT JOIN pg_catalog.pg_partition_tree(w.oid) t ON t.isleaf)"
)
# Nothing here waits for a lock, so that it answers during a migration as well.
_COUNTS = text(
    f"{_LEAVES} SELECT w.nspname AS schema, w.relname AS name,"  # noqa: S608 - constants only
    " CASE WHEN bool_and(c.reltuples >= 0) THEN sum(c.reltuples)::bigint END AS estimated_rows,"
    " coalesce(sum(s.n_live_tup), 0)::bigint AS live_rows, coalesce(sum(s.n_dead_tup), 0)::bigint AS dead_rows,"
    " coalesce(sum(s.n_tup_ins), 0)::bigint AS inserted, coalesce(sum(s.n_tup_upd), 0)::bigint AS updated,"
    " coalesce(sum(s.n_tup_del), 0)::bigint AS deleted, coalesce(sum(s.seq_scan), 0)::bigint AS seq_scans,"
    " coalesce(sum(s.idx_scan), 0)::bigint AS index_scans,"
    " max(greatest(s.last_vacuum, s.last_autovacuum)) AS last_vacuum,"
    " max(greatest(s.last_analyze, s.last_autoanalyze)) AS last_analyze"
    " FROM wanted w JOIN leaves l ON l.root = w.oid JOIN pg_catalog.pg_class c ON c.oid = l.oid"
    " LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = l.oid GROUP BY w.nspname, w.relname"
)
_SIZES = text(
    f"{_LEAVES} SELECT sum(pg_catalog.pg_table_size(l.oid))::bigint AS table_bytes,"  # noqa: S608 - constants only
    " sum(pg_catalog.pg_indexes_size(l.oid))::bigint AS index_bytes FROM leaves l"
)


@dataclass(frozen=True, slots=True)
class TableStats:
    """One table, or a partitioned one with all its partitions.

    ``estimated_rows`` is the planner's number (None: never analysed); ``live_rows``, ``dead_rows``, the writes
    and the scans are counted by the server since its statistics were last reset and come up to a second late.
    Sizes are in bytes, ``table_bytes`` with TOAST, None while a migration locks the table.
    """

    schema: str
    name: str
    estimated_rows: int | None
    live_rows: int
    dead_rows: int
    inserted: int
    updated: int
    deleted: int
    seq_scans: int
    index_scans: int
    last_vacuum: datetime | None
    last_analyze: datetime | None
    table_bytes: int | None
    index_bytes: int | None

    @property
    def total_bytes(self) -> int | None:
        """Table and indexes; None while they cannot be told."""
        if self.table_bytes is None or self.index_bytes is None:
            return None
        return self.table_bytes + self.index_bytes

    @property
    def dead_percent(self) -> float:
        """Dead rows of all rows; 0 for an empty table. Much of it asks for VACUUM."""
        rows = self.live_rows + self.dead_rows
        return 100.0 * self.dead_rows / rows if rows else 0.0


async def get_table_stats(session: AsyncSession, model: type[Any] | Table) -> TableStats:
    """Rows, scans, writes and sizes of a mapped class's table, from the server's catalogs; counts no rows itself.

    Follows the session's ``schema_translate_map``. Waits at most 200 ms for a lock. Raises NotFound when there
    is no such table, ConfigurationError for what is not mapped to one, and a DatabaseError. Not for requests of
    ordinary users: it tells how much there is of everybody's.
    """
    table = _table_of(model)
    connection = await session.connection()
    try:
        where = {"schema": _schema_of(connection, table), "table": table.name}
        counted = (await connection.execute(_COUNTS, where)).mappings().one_or_none()
        if counted is None:
            raise NotFound(f"There is no table {table.name}")
        table_bytes, index_bytes = await _sizes(connection, where)
    except DBAPIError as error:
        raise translate(error) from error
    return TableStats(**counted, table_bytes=table_bytes, index_bytes=index_bytes)


def _schema_of(connection: AsyncConnection, table: Table) -> str | None:
    started = connection.sync_connection
    options = started.get_execution_options() if started is not None else {}
    translated = options.get("schema_translate_map") or {}
    schema: str | None = translated.get(table.schema, table.schema)
    return schema


async def _sizes(connection: AsyncConnection, where: dict[str, str | None]) -> tuple[int | None, int | None]:
    """The sizes, or none when they would have to be waited for: asking for them takes a lock."""
    savepoint = await connection.begin_nested()
    try:
        await connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
        row = (await connection.execute(_SIZES, where)).one()
    except DBAPIError as error:
        if not isinstance(translate(error), DatabaseTimeout):
            raise
        return None, None
    finally:
        await savepoint.rollback()  # With it goes the time limit, back to whatever it was.
    return row.table_bytes, row.index_bytes


def _table_of(model: type[Any] | Table) -> Table:
    if isinstance(model, Table):
        return model
    mapper = inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper) or not isinstance(mapper.local_table, Table):
        raise ConfigurationError(f"get_table_stats takes a mapped class or a table, not {model!r:.80}")
    return mapper.local_table
