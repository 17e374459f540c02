"""Which indexes are used, for a session."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.monitor._index_usage import IndexEfficiency, UnusedIndex, index_efficiency, unused_indexes
from app.core.monitor._session_asked import SessionAsked


class IndexUsageAnalyzer:
    """Answers about the indexes of the database of ``session``; reads statistics only and waits for no lock. Raises a DatabaseError.

    For a script or a check of one's own; a service asks ``MonitorServer``, which bounds what a question may cost.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._asked = SessionAsked(session)

    async def get_unused_indexes(
        self, *, days: float = 35.0, least_bytes: int = 1_048_576
    ) -> tuple[UnusedIndex, ...]:
        """Indexes of ``least_bytes`` or more that nobody scanned for ``days``, largest first; look at their ``verdict``."""
        return await unused_indexes(self._asked, days=days, least_bytes=least_bytes)

    async def get_index_efficiency(self, *, limit: int = 100) -> tuple[IndexEfficiency, ...]:
        """The largest indexes, with what they are read for their size."""
        return await index_efficiency(self._asked, limit=limit)
