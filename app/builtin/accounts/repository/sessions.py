"""Reads and writes sessions and their refresh tokens."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import AuthSession, RefreshToken
from app.core.db import translate_errors


class SessionRepository:
    """Sessions of users in one database session. Nothing is committed but by ``keep``."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, *rows: AuthSession | RefreshToken) -> None:
        """Insert, in this order."""
        with translate_errors():
            for row in rows:
                self._session.add(row)
                await self._session.flush()

    async def lock_of(self, token_hash: bytes) -> AuthSession | None:
        """The session whose refresh token has this hash; others who would lock or end it wait until we are done.

        What else is read of the family must be read after this, by another statement: what one sees beside a row that it waited for is
        from before it waited.
        """
        family = select(RefreshToken.session_id).where(RefreshToken.hash == token_hash).scalar_subquery()
        query = select(AuthSession).where(AuthSession.id == family).with_for_update()
        with translate_errors():
            return await self._session.scalar(query, execution_options={"populate_existing": True})

    async def lock(self, user_id: UUID, session_id: UUID) -> AuthSession | None:
        """This session of the user; others who would lock or end it wait until we are done."""
        query = select(AuthSession).where(AuthSession.id == session_id, AuthSession.user_id == user_id)
        with translate_errors():
            return await self._session.scalar(
                query.with_for_update(), execution_options={"populate_existing": True}
            )

    async def token(self, token_hash: bytes) -> RefreshToken | None:
        """The refresh token with this hash, without its successor."""
        query = select(RefreshToken).where(RefreshToken.hash == token_hash)
        with translate_errors():
            return await self._session.scalar(query, execution_options={"populate_existing": True})

    async def successor(self, token_hash: bytes) -> str | None:
        """The token that followed this one, if it may still be told."""
        with translate_errors():
            return await self._session.scalar(
                select(RefreshToken.successor).where(RefreshToken.hash == token_hash)
            )

    async def made_at(self, session_id: UUID, generation: int) -> datetime | None:
        """When the session's token of this generation was made."""
        query = select(RefreshToken.created_at).where(
            RefreshToken.session_id == session_id, RefreshToken.generation == generation
        )
        with translate_errors():
            return await self._session.scalar(query)

    async def forget_successor(self, session_id: UUID, generation: int) -> None:
        """What followed this generation is no longer told."""
        with translate_errors():
            await self._session.execute(
                update(RefreshToken)
                .where(RefreshToken.session_id == session_id, RefreshToken.generation == generation)
                .values(successor=None)
            )

    async def end(
        self,
        user_id: UUID,
        at: datetime,
        reason: str,
        *,
        only: UUID | None = None,
        besides: UUID | None = None,
    ) -> Sequence[UUID]:
        """End the user's sessions, ``only`` this one of his, or all ``besides`` this one; those that were not ended before."""
        ending = update(AuthSession).where(AuthSession.user_id == user_id, AuthSession.ended_at.is_(None))
        if only is not None:
            ending = ending.where(AuthSession.id == only)
        if besides is not None:
            ending = ending.where(AuthSession.id != besides)
        ended = ending.values(ended_at=at, end_reason=reason).returning(AuthSession.id)
        with translate_errors():
            return (await self._session.scalars(ended)).all()

    async def active(
        self, user_id: UUID, *, now: datetime, used_after: datetime, before: UUID | None, most: int
    ) -> Sequence[AuthSession]:
        """The user's sessions that can still be refreshed, newest first; those that began before the session ``before``."""
        query = select(AuthSession).where(
            AuthSession.user_id == user_id,
            AuthSession.ended_at.is_(None),
            AuthSession.expires_at > now,
            AuthSession.used_at > used_after,
        )
        if before is not None:
            query = query.where(AuthSession.id < before)
        with translate_errors():
            return (await self._session.scalars(query.order_by(AuthSession.id.desc()).limit(most))).all()

    async def purge(self, used_before: datetime, most: int) -> int:
        """Delete sessions that were last used before this time, at most ``most``; how many. Their tokens go with them."""
        old = (
            select(AuthSession.id)
            .where(AuthSession.used_at < used_before)
            .order_by(AuthSession.used_at)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        with translate_errors():
            gone = await self._session.scalars(
                delete(AuthSession).where(AuthSession.id.in_(old)).returning(AuthSession.id)
            )
            return len(gone.all())

    async def forget_successors(self, used_before: datetime) -> int:
        """What followed tokens that were used before this time is no longer told; of how many it was."""
        with translate_errors():
            cleared = await self._session.scalars(
                update(RefreshToken)
                .where(RefreshToken.successor.is_not(None), RefreshToken.used_at < used_before)
                .values(successor=None)
                .returning(RefreshToken.generation)
            )
            return len(cleared.all())

    async def keep(self) -> None:
        """Commit now, because the answer will be a refusal, which rolls back: the end of a session must stay all the same."""
        with translate_errors():
            await self._session.commit()
