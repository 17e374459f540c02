"""Writes and reads of the audit log."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
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

    async def page(
        self,
        *,
        event: str | None,
        subject: UUID | None,
        actor: str | None,
        since: datetime | None,
        until: datetime | None,
        before: UUID | None,
        most: int,
    ) -> Sequence[AuditEvent]:
        """What was recorded, newest first: of this kind, done to this user, by this caller, in this time; recorded before ``before``."""
        query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(most)
        equal = ((AuditEvent.event, event), (AuditEvent.subject_id, subject), (AuditEvent.actor_id, actor))
        query = query.where(*(column == value for column, value in equal if value is not None))
        if since is not None:
            query = query.where(AuditEvent.at >= since)
        if until is not None:
            query = query.where(AuditEvent.at < until)
        if before is not None:
            query = query.where(AuditEvent.id < before)
        with translate_errors():
            return (await self._session.scalars(query)).all()
