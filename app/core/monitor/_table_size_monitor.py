"""How large tables are and how fast they grow, for a session."""

from datetime import datetime
from typing import TypedDict

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.monitor._session_asked import SessionAsked
from app.core.monitor._table_detail import table_size_of
from app.core.monitor._table_sizes import TableSize, table_sizes

_MB = 1_048_576


class GrowthTrend(TypedDict):
    """Rates in MB of 1,048,576 bytes; ``basis`` is ``measured`` or ``estimate``, see ``Growth``."""

    table: str
    size_mb: float
    growth_rate_mb_per_hour: float
    growth_rate_mb_per_day: float
    size_mb_in_30_days: float | None
    basis: str
    points: int
    since: datetime
    until: datetime
    note: str


class TableSizeMonitor:
    """Answers about the tables of the database of ``session``, partitions under their parent. Raises a DatabaseError.

    Growth comes from the samples that the service stores every five minutes, or is an estimate before there are two.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._asked = SessionAsked(session)

    async def get_table_sizes(self) -> tuple[TableSize, ...]:
        """The hundred largest tables, largest first; ``get_largest_tables`` for fewer."""
        return (await table_sizes(self._asked, limit=100)).tables

    async def get_largest_tables(self, limit: int = 10) -> tuple[TableSize, ...]:
        """The ``limit`` (1 to 100) largest. Raises ValueError for another number."""
        if not 1 <= limit <= 100:
            raise ValueError(f"limit must be 1 to 100, not {limit}")
        return (await table_sizes(self._asked, limit=limit)).tables

    async def get_growth_trend(self, table: str) -> GrowthTrend:
        """How fast ``table`` (``schema.table``, or a name on the search path) grows. Raises NotFound when there is none."""
        sized = await table_size_of(self._asked, table)
        growth, later = sized.growth, sized.growth.bytes_in_30_days
        return GrowthTrend(
            table=f"{sized.schema}.{sized.name}",
            size_mb=sized.total_bytes / _MB,
            growth_rate_mb_per_hour=growth.bytes_per_hour / _MB,
            growth_rate_mb_per_day=growth.bytes_per_day / _MB,
            size_mb_in_30_days=None if later is None else later / _MB,
            basis=growth.basis,
            points=growth.points,
            since=growth.since,
            until=growth.until,
            note=growth.note,
        )
