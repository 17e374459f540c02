"""Signing in, and finding the user behind a token."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from app.builtin.accounts.models import User, email_key
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.service.mfa_errors import MfaRequired
from app.builtin.accounts.service.opened import Opened
from app.builtin.accounts.service.scopes import InvalidScope, asked_scopes
from app.builtin.accounts.service.sessions import Sessions
from app.builtin.accounts.service.sign_in_guard import Entry, SignInGuard
from app.core.context import Principal, current_context
from app.core.db import AsyncSession
from app.core.errors import NotAuthenticated, PermissionDenied
from app.core.http import client_network
from app.core.security import InvalidToken, PasswordHasher


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


class EmailNotVerified(PermissionDenied):
    """The password was right, and nobody has shown yet that he reads mail at the address."""

    def __init__(self) -> None:
        super().__init__(
            "This e-mail address is not verified; a password reset verifies it.",
            extensions={"error": "email_not_verified"},
        )


class SignIn:
    """Exchanges a password for a new session's tokens.

    An unknown user, a wrong password and an inactive user are answered alike and after the same work: the
    attempt is charged before anything is known about the account, and where there is no hash to verify
    another one is made. ``verified_only``: only users whose e-mail address is verified.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        passwords: PasswordHasher,
        guard: SignInGuard,
        second_factor: SecondHalf | None = None,
        verified_only: bool = False,
    ) -> None:
        self._sessions = sessions
        self._passwords = passwords
        self._guard = guard
        self._second_factor = second_factor
        self._verified_only = verified_only

    @property
    def device_life_s(self) -> int:
        """Seconds that ``Opened.device`` and ``MfaRequired.device`` are good for."""
        return self._guard.device_life_s

    async def with_password(
        self, db: AsyncSession, email: str, password: str, scope: str = "", *, device: str | None = None
    ) -> Opened:
        """A session with those scopes of ``scope`` that the user has, with all of them when ``scope`` is empty.

        ``device`` is what ``Opened.device`` or ``MfaRequired.device`` gave this browser before, if anything. The attempt is counted for the
        network of the request in hand.

        Raises ``InvalidScope`` (400) when scopes were asked for and none is the user's, ``BadCredentials``
        (401), ``MfaRequired`` (401), ``EmailNotVerified`` (403), and what the guard and the hasher raise (429, 503). Replaces a hash that
        is weaker than today's.
        """
        asked, users = asked_scopes(scope), UserRepository(db)
        entry = await self._enter(users, email, device)
        user, known = await self._verified(users, email, password, entry)
        granted = asked & user.all_scopes if asked else user.all_scopes
        if asked and not granted:
            raise InvalidScope("The user has none of the scopes that were asked for.")
        if self._second_factor is not None:
            try:
                await self._second_factor.require(db, user, granted)
            except MfaRequired as waiting:
                waiting.device = known
                raise
        opened = await self._sessions.begin(db, user, granted)
        if asked and not opened.access.claims["scope"]:
            raise InvalidScope(
                "The scopes that were asked for need a second factor, which the user has not set up."
            )
        return replace(opened, device=known)

    async def _enter(self, users: UserRepository, email: str, device: str | None) -> Entry:
        async def current_hash() -> str | None:
            user = await users.get_by_email(email)
            await users.release()
            return user.password_hash if user is not None else None

        network = client_network(current_context().client_ip)
        return await self._guard.enter(self._guard.visit(email_key(email), network, device), current_hash)

    async def _verified(
        self, users: UserRepository, email: str, password: str, entry: Entry
    ) -> tuple[User, str]:
        """The user, and what his browser is to keep."""
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
        known = await entry.succeeded(better or verified)
        # Locked and read once more: he may have been disabled, or his password changed and all sessions ended, while it was verified.
        user = await users.lock(found.id)
        if user is None or not user.is_active or user.password_hash != verified:
            raise BadCredentials
        if self._verified_only and user.email_verified_at is None:
            raise EmailNotVerified
        if better is not None:
            user.password_hash = better
        return user, known


async def current_user(users: UserRepository, principal: Principal) -> User:
    """The user behind a token. Raises ``InvalidToken`` when he was deleted or made inactive after it was issued."""
    try:
        user = await users.get(UUID(principal.id))
    except ValueError as exc:
        raise InvalidToken("sub") from exc
    if user is None or not user.is_active:
        raise InvalidToken("sub")
    return user
