"""What is left of deleted users."""

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import DeletedUser
from app.core.db import translate_errors


class DeletedUserRepository:
    """The ids of deleted users in one database session. Nothing is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def purge(self, deleted_before: datetime) -> int:
        """Forget those that were deleted before this time; how many."""
        old = delete(DeletedUser).where(DeletedUser.deleted_at < deleted_before).returning(DeletedUser.id)
        with translate_errors():
            return len((await self._session.scalars(old)).all())
