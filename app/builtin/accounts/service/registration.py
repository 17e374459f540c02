"""People who make an account for themselves."""

from collections.abc import Iterable

from app.builtin.accounts.models import User
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.service.addresses import checked_email
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.email_tokens import EmailTokens
from app.builtin.accounts.service.letters import Letters
from app.builtin.accounts.service.passwords import check_password
from app.core.db import AsyncSession, Database, get_db_context
from app.core.errors import ConfigurationError, NotFound
from app.core.mail import Mail
from app.core.security import PasswordHasher, unknown_roles, unknown_scopes


class RegistrationIsOff(NotFound):
    """Accounts are made by operators here."""

    def __init__(self) -> None:
        super().__init__("Nobody can register here.")


class Registration:
    """First the address, then the password, by whoever reads the mail: so nobody can make an account with somebody else's address and a
    password of his own, and wait until the owner follows the link.

    ``roles`` and ``scopes`` are what everybody gets. Raises ConfigurationError for unknown ones.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        roles: Iterable[str],
        scopes: Iterable[str],
        database: Database,
        tokens: EmailTokens,
        letters: Letters,
        audit: AuditLog,
        passwords: PasswordHasher,
    ) -> None:
        self._enabled = enabled
        self._roles, self._scopes = sorted(set(roles)), sorted(set(scopes))
        if unknown := [*unknown_roles(self._roles), *unknown_scopes(self._scopes)]:
            raise ConfigurationError(
                f"REGISTRATION__ROLES or REGISTRATION__SCOPES: unknown: {', '.join(unknown)}"
            )
        self._database = database
        self._tokens = tokens
        self._letters = letters
        self._audit = audit
        self._passwords = passwords

    async def request(self, email: str) -> None:
        """Send a link to this address; a user who has it is told that he has an account. Which of them, is found out after the answer.

        Raises ``RegistrationIsOff`` (404), ``Unprocessable`` (422) for what is no address, ``MailboxFull`` (503), and what the limiter of
        mails to one address raises (429, 503).
        """
        if not self._enabled:
            raise RegistrationIsOff
        address = checked_email(email)
        await self._letters.admit("register", address)

        async def write() -> Mail | None:
            return await self._write(address)

        self._letters.later("register", write)

    async def _write(self, email: str) -> Mail | None:
        async with get_db_context(self._database) as db:
            owner = await UserRepository(db).get_by_email(email)
            if owner is not None:
                return self._letters.texts.has_account(owner.email) if owner.is_active else None
            token = await self._tokens.issue(db, "register", email, None)
            return self._letters.texts.register(email, token)

    async def confirm(self, db: AsyncSession, token: str, password: str) -> None:
        """Make the account, with a verified address. Does not sign in.

        Raises ``RegistrationIsOff`` (404), ``BadEmailToken`` (400), ``UnfitPassword`` (422), after which the token is still good, and
        ``EmailTaken`` (409) when the address got an account meanwhile: only who reads its mail learns that.
        """
        if not self._enabled:
            raise RegistrationIsOff
        found = await self._tokens.find(db, token, "register")
        email = found.email
        check_password(password, email=email)
        users = UserRepository(db)
        await users.release()
        hashed = await self._passwords.hash_async(password)
        await self._tokens.take(db, token)
        user = await users.add(
            User(
                email=email,
                password_hash=hashed,
                roles=self._roles,
                scopes=self._scopes,
                email_verified_at=self._tokens.now(),
            )
        )
        await self._audit.record(db, "user.registered", user.id, roles=self._roles, scopes=self._scopes)
