"""Reads and writes users."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import AuthSession, RefreshToken, User, email_key
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

    async def lock(self, user_id: UUID) -> User | None:
        """The user as he is now; others who write or lock his row wait until we are done."""
        query = select(User).where(User.id == user_id).with_for_update(key_share=True)
        with translate_errors():
            return await self._session.scalar(query, execution_options={"populate_existing": True})

    async def lock_owner(self, token_hash: bytes) -> User | None:
        """Whose refresh token has this hash. He cannot be changed until we are done, but others may read him so too."""
        family = select(AuthSession.user_id).join(RefreshToken, RefreshToken.session_id == AuthSession.id)
        owner = family.where(RefreshToken.hash == token_hash).scalar_subquery()
        query = select(User).where(User.id == owner).with_for_update(read=True)
        with translate_errors():
            return await self._session.scalar(query, execution_options={"populate_existing": True})

    async def end_tokens(
        self, user_id: UUID, since: datetime, ahead: timedelta | None = None
    ) -> datetime | None:
        """Access tokens issued before ``since`` are over; an earlier end stays where it is if it is later.

        Returns which of the two it is; None for an unknown user.
        ``ahead``: by how much ``since`` may be later than the server's clock says; what is later than that is cut.
        """
        if ahead is not None:
            limit = func.date_trunc("milliseconds", func.clock_timestamp() + ahead)
            later = func.greatest(User.tokens_since, func.least(since, limit))
        else:
            later = func.greatest(User.tokens_since, since)
        ending = update(User).where(User.id == user_id).values(tokens_since=later)
        with translate_errors():
            return (await self._session.scalars(ending.returning(User.tokens_since))).one_or_none()

    async def page(
        self, *, email: str | None, role: str | None, is_active: bool | None, before: UUID | None, most: int
    ) -> Sequence[User]:
        """Users, newest first: those with this address in any spelling, this role of their own, active or not; made before ``before``."""
        query = select(User)
        if email is not None:
            query = query.where(User.email_key == email_key(email))
        if role is not None:
            query = query.where(User.roles.contains([role]))
        if is_active is not None:
            query = query.where(User.is_active.is_(is_active))
        if before is not None:
            query = query.where(User.id < before)
        with translate_errors():
            return (await self._session.scalars(query.order_by(User.id.desc()).limit(most))).all()

    async def queue_for(self, role: str) -> None:
        """Wait for others who may take this role from somebody; they wait until we are done. Before rows are locked, not after."""
        key = func.hashtextextended(f"users.role.{role}", 0)
        with translate_errors():
            await self._session.execute(select(func.pg_advisory_xact_lock(key)))

    async def has_another(self, role: str, than: UUID) -> bool:
        """Whether an active user other than this one has the role."""
        query = select(User.id).where(User.roles.contains([role]), User.is_active, User.id != than).limit(1)
        with translate_errors():
            return await self._session.scalar(query) is not None

    async def refresh(self, user: User) -> None:
        """Read him once more, with what the server made of the last change."""
        with translate_errors():
            await self._session.flush()
            await self._session.refresh(user)

    async def delete(self, user: User) -> None:
        """Delete his row, and with it all rows that belong to him; ``deleted_users`` keeps his id."""
        with translate_errors():
            await self._session.delete(user)
            await self._session.flush()

    async def add(self, user: User) -> User:
        """Insert. Raises ``EmailTaken``; the session stays usable after that."""
        try:
            with translate_errors():
                async with self._session.begin_nested():
                    self._session.add(user)
        except ConstraintViolated as exc:
            raise EmailTaken("This e-mail address has an account already.") from exc
        return user

    async def change_email(self, user: User, email: str) -> None:
        """Give the user this address. Raises ``EmailTaken``; roll back then, because his row is not known any more."""
        try:
            with translate_errors():
                async with self._session.begin_nested():
                    user.email = email
        except ConstraintViolated as exc:
            raise EmailTaken("This e-mail address has an account already.") from exc

    async def release(self) -> None:
        """End a read, so that its connection can serve others while something slow is done.

        Where passwords are hashed and verified: that takes tens of milliseconds, longer when many wait, and
        the pool must not be empty meanwhile. Only after reads: it commits what the session holds.
        """
        with translate_errors():
            await self._session.commit()
