"""Reads and writes the webhooks of a user."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, column, delete, func, select, table, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from app.builtin.jobs.models import WebhookEndpoint
from app.core.db import translate_errors

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('webhooks of ' || :owner, 0))")

_USERS = table("users", column("id", Uuid()))


class WebhookEndpoints:
    """Webhooks in one database session. Nothing is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def count_locked(self, owner: str) -> int:
        """How many there are of this owner's; others who ask this wait for our transaction."""
        query = select(func.count()).where(WebhookEndpoint.owner == owner)
        with translate_errors():
            await self._session.execute(_ONE_AT_A_TIME, {"owner": owner})
            return await self._session.scalar(query) or 0

    async def add(self, endpoint: WebhookEndpoint) -> None:
        """Insert it; its times are there afterwards."""
        endpoint.user_id = _user_of(endpoint.owner)
        with translate_errors():
            self._session.add(endpoint)
            await self._session.flush()
            await self._session.refresh(endpoint, ["created_at", "is_active"])

    async def of(self, owner: str) -> Sequence[WebhookEndpoint]:
        """All of this owner's, newest first."""
        query = select(WebhookEndpoint).where(WebhookEndpoint.owner == owner)
        with translate_errors():
            return (await self._session.scalars(query.order_by(WebhookEndpoint.id.desc()))).all()

    async def get(self, owner: str, endpoint_id: UUID) -> WebhookEndpoint | None:
        """One of this owner's."""
        query = select(WebhookEndpoint).where(
            WebhookEndpoint.id == endpoint_id, WebhookEndpoint.owner == owner
        )
        with translate_errors():
            return await self._session.scalar(query)

    async def opened(self, owner: str, endpoint_id: UUID) -> WebhookEndpoint | None:
        """The same with its secret, for us to change: others wait for our transaction."""
        query = (
            select(WebhookEndpoint)
            .where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.owner == owner)
            .options(undefer(WebhookEndpoint.secret))
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        with translate_errors():
            return await self._session.scalar(query)

    async def flush(self) -> None:
        """Write what was changed."""
        with translate_errors():
            await self._session.flush()

    async def delete(self, owner: str, endpoint_id: UUID) -> bool:
        """With its deliveries; False: there was none."""
        query = delete(WebhookEndpoint).where(
            WebhookEndpoint.id == endpoint_id, WebhookEndpoint.owner == owner
        )
        with translate_errors():
            gone = await self._session.scalar(query.returning(WebhookEndpoint.id))
        return gone is not None


def _user_of(owner: str) -> Any:
    """What finds his id among our users; None for who cannot be there."""
    try:
        user_id = UUID(owner)
    except ValueError:
        return None
    return select(_USERS.c.id).where(_USERS.c.id == user_id).scalar_subquery()
