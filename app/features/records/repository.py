"""Records in the database: one owner's."""

from collections.abc import Sequence
from uuid import UUID

from app.core.db import AsyncBaseRepository, AsyncSession
from app.features.records.models import Record
from app.features.records.schemas import Position


class RecordRepository(AsyncBaseRepository[Record]):
    """One user's records. Nothing here can see another user's."""

    def __init__(self, session: AsyncSession, owner_id: UUID) -> None:
        super().__init__(Record, session, scope={"owner_id": owner_id})

    async def list_page(self, *, limit: int, after: Position | None, tag: str | None) -> Sequence[Record]:
        """At most ``limit`` records, newest first, those after a position."""
        filters = {} if tag is None else {"tags__has": tag}
        return await self.get_after(after, limit=limit, order_by="-created_at", filters=filters)
