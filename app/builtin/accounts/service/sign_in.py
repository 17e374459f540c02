"""Signing in, and finding the user behind a token."""

from typing import Protocol
from uuid import UUID

from app.builtin.accounts.models import User, email_key
from app.builtin.accounts.repository import UserRepository
from app.core.context import Principal
from app.core.errors import BadRequest, NotAuthenticated
from app.core.security import InvalidToken, IssuedToken, PasswordHasher, TokenService, parse_scope


class AttemptLimiter(Protocol):
    """Counts attempts on one account. ``app.core.policies.AttemptLimit`` is one."""

    async def spend(self, name: str) -> None:
        """Charge one attempt. Raises ``PolicyRejected`` (429), or ``Unavailable`` (503) when nobody can count."""
        ...


class BadCredentials(NotAuthenticated):
    """The name and the password do not belong together: no such user, another password, or an inactive user."""

    def __init__(self) -> None:
        super().__init__("The user name or the password is wrong.")
        self.extensions["error"] = "invalid_grant"


class InvalidScope(BadRequest):
    """What was asked for is no list of scopes, or holds none that the user has (RFC 6749 section 5.2)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, extensions={"error": "invalid_scope"})


class SignIn:
    """Exchanges a password for an access token.

    An unknown user, a wrong password and an inactive user are answered alike and after the same work: the
    attempt is charged to the account before anything is known about it, and where there is no hash to verify
    another one is made.
    """

    def __init__(self, *, tokens: TokenService, passwords: PasswordHasher, attempts: AttemptLimiter) -> None:
        self._tokens = tokens
        self._passwords = passwords
        self._attempts = attempts

    async def with_password(
        self, users: UserRepository, email: str, password: str, scope: str = ""
    ) -> IssuedToken:
        """A token with those scopes of ``scope`` that the user has, with all of them when ``scope`` is empty.

        Raises ``InvalidScope`` (400) when scopes were asked for and none is the user's, ``BadCredentials``
        (401), and what the limiter and the hasher raise (429, 503). Replaces a hash that is weaker than
        today's.
        """
        asked = _asked(scope)
        await self._attempts.spend(email_key(email))
        user = await self._verified(users, email, password)
        granted = asked & frozenset(user.scopes) if asked else frozenset(user.scopes)
        if asked and not granted:
            raise InvalidScope("The user has none of the scopes that were asked for.")
        return self._tokens.issue(str(user.id), scopes=granted, roles=user.roles)

    async def _verified(self, users: UserRepository, email: str, password: str) -> User:
        user = await users.get_by_email(email)
        await users.release()
        if user is None:
            await self._passwords.verify_dummy_async(password)
            raise BadCredentials
        # An inactive user's password is verified too, because skipping the work would tell that there is one.
        if not await self._passwords.verify_async(password, user.password_hash) or not user.is_active:
            raise BadCredentials
        if self._passwords.needs_rehash(user.password_hash):
            user.password_hash = await self._passwords.hash_async(password)
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


def _asked(scope: str) -> frozenset[str]:
    try:
        return parse_scope(scope)
    except ValueError as exc:
        raise InvalidScope(
            "This is not a list of scopes; an example is `read:records write:records`."
        ) from exc
