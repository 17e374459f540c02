"""Samples of the sizes of tables."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import keep_partitions, translate_errors
from app.core.monitor import SAMPLES_TABLE, TableSize

# Most tables stay as they are: such a one is written once an hour.
_ADD = text(f"""
INSERT INTO {SAMPLES_TABLE} (schema_name, table_name, taken_at, heap_bytes, index_bytes, toast_bytes, row_count)
SELECT n.schema_name, n.table_name, :at, n.heap, n.indexes, n.toast, n.rows
FROM unnest(CAST(:schemas AS text[]), CAST(:names AS text[]), CAST(:heaps AS bigint[]), CAST(:indexes AS bigint[]),
            CAST(:toasts AS bigint[]), CAST(:rows AS bigint[])) AS n(schema_name, table_name, heap, indexes, toast, rows)
WHERE NOT EXISTS (
    SELECT FROM (SELECT s.heap_bytes, s.index_bytes, s.toast_bytes, s.row_count FROM {SAMPLES_TABLE} s
        WHERE s.schema_name = n.schema_name AND s.table_name = n.table_name
          AND s.taken_at > CAST(:at AS timestamptz) - interval '1 hour' AND s.taken_at <= :at
        ORDER BY s.taken_at DESC LIMIT 1) l
    WHERE (l.heap_bytes, l.index_bytes, l.toast_bytes, l.row_count) = (n.heap, n.indexes, n.toast, n.rows))
ON CONFLICT DO NOTHING
RETURNING 1
""")  # noqa: S608 - constants only


class TableSamples:
    """Adds samples, and keeps their months. Raises a DatabaseError."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, at: datetime, tables: Sequence[TableSize]) -> int:
        """Store what changed since the sample before, and every hour all; how many rows that were."""
        with translate_errors():
            rows = await self._session.execute(
                _ADD,
                {
                    "at": at,
                    "schemas": [it.schema for it in tables],
                    "names": [it.name for it in tables],
                    "heaps": [it.heap_bytes for it in tables],
                    "indexes": [it.index_bytes for it in tables],
                    "toasts": [it.toast_bytes for it in tables],
                    "rows": [it.live_rows for it in tables],
                },
            )
            return len(rows.all())

    async def keep_months(self, months: int) -> None:
        """Make the partitions of this month and the next ones, and drop those that are more than ``months`` old."""
        await keep_partitions(self._session, SAMPLES_TABLE, keep=months)
