"""Step-up: the caller of a session proves himself once more."""

from uuid import UUID

from app.builtin.accounts.models import User
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.schemas import StepUpForm
from app.builtin.accounts.service.mfa_errors import BadProof
from app.builtin.accounts.service.mfa_factor import SecondFactor
from app.builtin.accounts.service.sessions import Sessions
from app.builtin.accounts.service.sign_in import current_user
from app.core.context import Principal
from app.core.db import AsyncSession
from app.core.errors import EntityNotFoundError, Unprocessable
from app.core.security import InvalidToken, IssuedToken, PasswordHasher

_PASSWORD_METHODS = ("pwd",)


class StepUp:
    """Renews ``auth_time`` of the caller's session, and what ``amr`` says of it, for the tokens from then on.

    With a second factor by that, and only that; without one by the password. How often may be tried is the gate's to say: its limit per
    user counts callers with a token alone, so that nobody else can use it up.
    """

    def __init__(self, sessions: Sessions, factor: SecondFactor, passwords: PasswordHasher) -> None:
        self._sessions = sessions
        self._factor = factor
        self._passwords = passwords

    async def renew(self, db: AsyncSession, caller: Principal, form: StepUpForm) -> IssuedToken:
        """A token of the caller's session that says he has just proved himself.

        Raises EntityNotFoundError (404) for a token of no session here, Unprocessable (422) for the wrong kind of proof, ``BadProof``
        (401), and InvalidToken (401) for a caller who is no user any more.
        """
        if form.password is not None:
            user = await self._with_password(db, caller, form.password.get_secret_value())
            methods: tuple[str, ...] | None = _PASSWORD_METHODS
        else:
            user = await locked_user(db, caller)
            session_of(caller)
            if not await self._factor.is_on(db, user.id):
                raise Unprocessable("The caller has no second factor; send the password.")
            methods = await self._factor.accepts(db, user, form)
        if methods is None:
            raise BadProof
        return await self._sessions.renew(db, user, session_of(caller), caller.scopes, methods)

    async def _with_password(self, db: AsyncSession, caller: Principal, password: str) -> User:
        users = UserRepository(db)
        found = await current_user(users, caller)
        session_of(caller)
        verified, has_factor = found.password_hash, await self._factor.is_on(db, found.id)
        await users.release()
        if not has_factor and not await self._passwords.verify_async(password, verified):
            raise BadProof("The password is wrong.")
        user = await locked_user(db, caller)
        # Once more, under the lock: his password or his factor may have changed while the password was verified.
        if has_factor or await self._factor.is_on(db, user.id):
            raise Unprocessable("The caller has a second factor; send a code.")
        if user.password_hash != verified:
            raise BadProof("The password is wrong.")
        return user


async def locked_user(db: AsyncSession, caller: Principal) -> User:
    """The caller's row, locked. Raises InvalidToken (401) for one who is no user, or was disabled after his token was issued."""
    try:
        user = await UserRepository(db).lock(UUID(caller.id))
    except ValueError as exc:
        raise InvalidToken("sub") from exc
    if user is None or not user.is_active:
        raise InvalidToken("sub")
    return user


def session_of(caller: Principal) -> UUID:
    """The id of the caller's session. Raises EntityNotFoundError (404) for a token of no session here."""
    try:
        return UUID(caller.session_id or "")
    except ValueError:
        raise EntityNotFoundError("The caller has no such session.") from None
