"""Signing in, and finding the user behind a token."""

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from app.builtin.accounts.models import User, email_key
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.service.opened import Opened
from app.builtin.accounts.service.scopes import InvalidScope, asked_scopes
from app.builtin.accounts.service.sessions import Sessions
from app.core.context import Principal
from app.core.db import AsyncSession
from app.core.errors import NotAuthenticated
from app.core.security import InvalidToken, PasswordHasher


class AttemptLimiter(Protocol):
    """Counts attempts on one account. ``app.core.policies.AttemptLimit`` is one."""

    async def spend(self, name: str) -> None:
        """Charge one attempt. Raises ``PolicyRejected`` (429), or ``Unavailable`` (503) when nobody can count."""
        ...


class SecondHalf(Protocol):
    """What a sign-in waits for after the password. ``MfaSignIn`` is one."""

    async def require(self, db: AsyncSession, user: User, scopes: Iterable[str]) -> None:
        """Raises ``MfaRequired`` (401) for a user who has more to show."""
        ...


class BadCredentials(NotAuthenticated):
    """The name and the password do not belong together: no such user, another password, or an inactive user."""

    def __init__(self) -> None:
        super().__init__("The user name or the password is wrong.")
        self.extensions["error"] = "invalid_grant"


class SignIn:
    """Exchanges a password for a new session's tokens.

    An unknown user, a wrong password and an inactive user are answered alike and after the same work: the
    attempt is charged to the account before anything is known about it, and where there is no hash to verify
    another one is made.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        passwords: PasswordHasher,
        attempts: AttemptLimiter,
        second_factor: SecondHalf | None = None,
    ) -> None:
        self._sessions = sessions
        self._passwords = passwords
        self._attempts = attempts
        self._second_factor = second_factor

    async def with_password(self, db: AsyncSession, email: str, password: str, scope: str = "") -> Opened:
        """A session with those scopes of ``scope`` that the user has, with all of them when ``scope`` is empty.

        Raises ``InvalidScope`` (400) when scopes were asked for and none is the user's, ``BadCredentials``
        (401), ``MfaRequired`` (401), and what the limiter and the hasher raise (429, 503). Replaces a hash that is weaker than
        today's.
        """
        asked = asked_scopes(scope)
        await self._attempts.spend(email_key(email))
        user = await self._verified(UserRepository(db), email, password)
        granted = asked & frozenset(user.scopes) if asked else frozenset(user.scopes)
        if asked and not granted:
            raise InvalidScope("The user has none of the scopes that were asked for.")
        if self._second_factor is not None:
            await self._second_factor.require(db, user, granted)
        return await self._sessions.begin(db, user, granted)

    async def _verified(self, users: UserRepository, email: str, password: str) -> User:
        found = await users.get_by_email(email)
        await users.release()
        if found is None:
            await self._passwords.verify_dummy_async(password)
            raise BadCredentials
        verified = found.password_hash
        # An inactive user's password is verified too, because skipping the work would tell that there is one.
        if not await self._passwords.verify_async(password, verified) or not found.is_active:
            raise BadCredentials
        better = (
            await self._passwords.hash_async(password) if self._passwords.needs_rehash(verified) else None
        )
        # Locked and read once more: he may have been disabled, or his password changed and all sessions ended, while it was verified.
        user = await users.lock(found.id)
        if user is None or not user.is_active or user.password_hash != verified:
            raise BadCredentials
        if better is not None:
            user.password_hash = better
        return user


async def current_user(users: UserRepository, principal: Principal) -> User:
    """The user behind a token. Raises ``InvalidToken`` when he was deleted or made inactive after it was issued."""
    try:
        user = await users.get(UUID(principal.id))
    except ValueError as exc:
        raise InvalidToken("sub") from exc
    if user is None or not user.is_active:
        raise InvalidToken("sub")
    return user
