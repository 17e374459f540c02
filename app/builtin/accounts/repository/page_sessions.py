"""Reads and writes sessions that a browser holds by a cookie."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import AuthSession, PageSession, User
from app.core.db import translate_errors


class PageSessionRepository:
    """In one database session. Nothing is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: PageSession) -> None:
        """Insert."""
        with translate_errors():
            self._session.add(row)
            await self._session.flush()

    async def lock_owner(self, token_hash: bytes) -> User | None:
        """Whose cookie has this hash. He cannot be changed until we are done, but others may read him so too."""
        family = select(AuthSession.user_id).join(PageSession, PageSession.session_id == AuthSession.id)
        owner = family.where(PageSession.hash == token_hash).scalar_subquery()
        query = select(User).where(User.id == owner).with_for_update(read=True)
        with translate_errors():
            return await self._session.scalar(query, execution_options={"populate_existing": True})

    async def session_of(self, token_hash: bytes) -> AuthSession | None:
        """The session of the cookie with this hash, ended or not."""
        query = select(AuthSession).join(PageSession, PageSession.session_id == AuthSession.id)
        with translate_errors():
            return await self._session.scalar(
                query.where(PageSession.hash == token_hash), execution_options={"populate_existing": True}
            )
