"""Writes and reads of the audit log."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import AuditEvent
from app.core.db import translate_errors


class AuditRepository:
    """The audit log in one database session. Nothing is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, event: AuditEvent) -> None:
        """Insert."""
        with translate_errors():
            self._session.add(event)
            await self._session.flush()
