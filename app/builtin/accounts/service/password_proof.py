"""That a caller knows the password, once more, before he changes what others could steal the account with."""

from dataclasses import dataclass

from app.builtin.accounts.models import User
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.service.sign_in import current_user
from app.builtin.accounts.service.sign_in_guard import SignInGuard
from app.core.context import Principal, current_context
from app.core.db import AsyncSession
from app.core.errors import BadRequest, PermissionDenied
from app.core.http import client_network
from app.core.security import InvalidToken, PasswordHasher


class WrongPassword(BadRequest):
    """The caller's token is good, and the current password that he gave is not his. Not 401 or 403: he is who he is, and may do it."""

    def __init__(self) -> None:
        super().__init__("The current password is wrong.", extensions={"error": "invalid_password"})


class NotWithApiKey(PermissionDenied):
    """An API key may not do this, whatever its scopes: it would outlive what it was made for."""

    def __init__(self) -> None:
        super().__init__("This needs a token of the user, not an API key.")


@dataclass(frozen=True, slots=True)
class Proven:
    """The user whose password was just verified, and which hash it was."""

    user: User
    password_hash: str


class PasswordProof:
    """Verifies the caller's password, under the limit of sign-ins: a stolen token must not be a way around it."""

    def __init__(self, *, passwords: PasswordHasher, guard: SignInGuard) -> None:
        self._passwords = passwords
        self._guard = guard

    async def prove(self, db: AsyncSession, caller: Principal, password: str) -> Proven:
        """The caller, whose row is not locked.

        Raises ``WrongPassword`` (400), ``NotWithApiKey`` (403), ``InvalidToken`` (401) for who is no user, and what the limiter and the
        hasher raise (429, 503).
        """
        if caller.api_key_id is not None:
            raise NotWithApiKey
        users = UserRepository(db)
        user = await current_user(users, caller)
        verified = user.password_hash
        await users.release()

        async def current_hash() -> str:
            return verified

        network = client_network(current_context().client_ip)
        entry = await self._guard.enter(self._guard.visit(user.email_key, network, None), current_hash)
        if not await self._passwords.verify_async(password, verified):
            raise WrongPassword
        await entry.forgive()
        return Proven(user, verified)

    async def lock(self, db: AsyncSession, proven: Proven) -> User:
        """The user, locked and read once more.

        Raises ``WrongPassword`` when his password was changed meanwhile, ``InvalidToken`` when he was disabled or deleted.
        """
        user = await UserRepository(db).lock(proven.user.id)
        if user is None or not user.is_active:
            raise InvalidToken("sub")
        if user.password_hash != proven.password_hash:
            raise WrongPassword
        return user
