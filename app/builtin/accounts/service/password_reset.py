"""A user who does not know his password sets another one, by a link that he was sent."""

from app.builtin.accounts.models import User, email_key
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.email_tokens import BadEmailToken, EmailTokens
from app.builtin.accounts.service.letters import Letters
from app.builtin.accounts.service.new_password import NewPassword
from app.builtin.accounts.service.passwords import check_password
from app.core.db import AsyncSession, Database, get_db_context
from app.core.mail import Mail
from app.core.security import PasswordHasher


class PasswordReset:
    """``request`` does the same for every address; whether there is a user is found out after the answer."""

    def __init__(
        self,
        *,
        database: Database,
        tokens: EmailTokens,
        letters: Letters,
        audit: AuditLog,
        passwords: PasswordHasher,
        new: NewPassword,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._letters = letters
        self._audit = audit
        self._passwords = passwords
        self._new = new

    async def request(self, email: str) -> None:
        """Send a link to the active user with this address, if there is one; later, in a transaction of its own.

        Raises ``MailIsOff`` (404), ``MailboxFull`` (503), and what the limiter of mails to one address raises (429, 503).
        """
        await self._letters.admit("reset_password", email)

        async def write() -> Mail | None:
            return await self._write(email)

        self._letters.later("reset_password", write)

    async def _write(self, email: str) -> Mail | None:
        async with get_db_context(self._database) as db:
            user = await UserRepository(db).get_by_email(email, for_update=True)
            if user is None or not user.is_active:
                return None
            token = await self._tokens.issue(db, "reset_password", user.email, user)
            await self._audit.record(db, "password.reset_requested", user.id)
            return self._letters.texts.reset_password(user.email, token)

    async def confirm(self, db: AsyncSession, token: str, password: str) -> None:
        """Set the password of the token's user, and end all his sessions; he must sign in, with his second factor if he has one.

        His address counts as verified then. Raises ``BadEmailToken`` (400), ``UnfitPassword`` (422), after which the token is still good,
        and what ``NewPassword`` and the hasher raise (503).
        """
        found = await self._tokens.find(db, token, "reset_password")
        users = UserRepository(db)
        user = _usable(await users.get(found.user_id) if found.user_id is not None else None)
        sent_to = found.email
        check_password(password, email=user.email)
        await users.release()
        hashed = await self._passwords.hash_async(password)
        user = _usable(await users.lock(user.id))
        await self._tokens.take(db, token)
        await self._new.give(db, user, hashed, "password.reset")
        if user.email_verified_at is None and user.email_key == email_key(sent_to):
            user.email_verified_at = self._tokens.now()
            await self._audit.record(db, "email.verified", user.id)


def _usable(user: User | None) -> User:
    if user is None or not user.is_active:
        raise BadEmailToken
    return user
