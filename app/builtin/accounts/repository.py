"""Reads and writes users."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import User, email_key
from app.core.db import ConstraintViolated, translate_errors
from app.core.errors import Conflict


class EmailTaken(Conflict):
    """Another user has this e-mail address, in this or another spelling."""


class UserRepository:
    """Users in one session. Nothing is committed but by ``release``."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, user_id: UUID) -> User | None:
        """The user with this id."""
        with translate_errors():
            return await self._session.get(User, user_id)

    async def get_by_email(self, email: str, *, for_update: bool = False) -> User | None:
        """The user with this address in any spelling; ``for_update`` makes other writers wait until we are done."""
        query = select(User).where(User.email_key == email_key(email))
        if for_update:
            query = query.with_for_update().execution_options(populate_existing=True)
        with translate_errors():
            return await self._session.scalar(query)

    async def add(self, user: User) -> User:
        """Insert. Raises ``EmailTaken``; the session stays usable after that."""
        try:
            with translate_errors():
                async with self._session.begin_nested():
                    self._session.add(user)
        except ConstraintViolated as exc:
            raise EmailTaken("This e-mail address has an account already.") from exc
        return user

    async def release(self) -> None:
        """End a read, so that its connection can serve others while something slow is done.

        Signing in is the one place: a password is hashed for tens of milliseconds, longer when many wait, and
        the pool must not be empty meanwhile. Only after reads: it commits what the session holds.
        """
        with translate_errors():
            await self._session.commit()
