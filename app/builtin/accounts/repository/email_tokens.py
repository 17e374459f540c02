"""Reads and writes links that were sent by e-mail."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import EmailToken
from app.core.db import translate_errors


class EmailTokenRepository:
    """Tokens of e-mails in one database session. Nothing is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def put(
        self,
        purpose: str,
        owner: str,
        *,
        user_id: UUID | None,
        email: str,
        token_hash: bytes,
        created_at: datetime,
        expires_at: datetime,
    ) -> None:
        """Insert, in the place of the owner's earlier token of this purpose."""
        values = {
            "user_id": user_id,
            "email": email,
            "hash": token_hash,
            "created_at": created_at,
            "expires_at": expires_at,
        }
        adding = insert(EmailToken).values(purpose=purpose, owner=owner, **values)
        with translate_errors():
            await self._session.execute(
                adding.on_conflict_do_update(index_elements=["purpose", "owner"], set_=values)
            )

    async def find(self, token_hash: bytes, now: datetime) -> EmailToken | None:
        """The token with this hash, if its time is not over."""
        query = select(EmailToken).where(EmailToken.hash == token_hash, EmailToken.expires_at > now)
        with translate_errors():
            return await self._session.scalar(query)

    async def take(self, token_hash: bytes, now: datetime) -> bool:
        """Delete it; whether it was there and its time is not over. Of several at once one is told so."""
        taking = delete(EmailToken).where(EmailToken.hash == token_hash, EmailToken.expires_at > now)
        with translate_errors():
            return await self._session.scalar(taking.returning(EmailToken.purpose)) is not None

    async def forget(self, user_id: UUID) -> None:
        """Delete all of the user's."""
        with translate_errors():
            await self._session.execute(delete(EmailToken).where(EmailToken.user_id == user_id))

    async def purge(self, before: datetime) -> int:
        """Delete those whose time was over before; how many."""
        with translate_errors():
            gone = await self._session.scalars(
                delete(EmailToken).where(EmailToken.expires_at < before).returning(EmailToken.purpose)
            )
            return len(gone.all())
