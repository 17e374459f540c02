"""Whether a user reads mail at his address, and how he gets another one."""

from uuid import UUID

from app.builtin.accounts.models import User, email_key
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.service.addresses import checked_email
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.email_tokens import BadEmailToken, EmailTokens
from app.builtin.accounts.service.letters import Letters
from app.builtin.accounts.service.password_proof import PasswordProof
from app.builtin.accounts.service.sign_in import current_user
from app.core.context import Principal
from app.core.db import AsyncSession, Database, get_db_context
from app.core.mail import Mail


class EmailVerification:
    """Every address that becomes a user's by these methods was confirmed from its mailbox."""

    def __init__(
        self,
        *,
        database: Database,
        tokens: EmailTokens,
        letters: Letters,
        audit: AuditLog,
        proof: PasswordProof,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._letters = letters
        self._audit = audit
        self._proof = proof

    async def request(self, db: AsyncSession, caller: Principal) -> None:
        """Send a link to the caller's address; nothing, when it is verified.

        Raises ``InvalidToken`` (401), ``MailIsOff`` (404), and what the limiter of mails to one address raises (429, 503).
        """
        users = UserRepository(db)
        user = await current_user(users, caller)
        await self._letters.admit("verify_email", user.email)
        locked = await users.lock(user.id)
        if locked is None or locked.email_verified_at is not None:
            return
        token = await self._tokens.issue(db, "verify_email", locked.email, locked)
        self._letters.tell(db, self._letters.texts.verify_email(locked.email, token))

    async def request_change(self, db: AsyncSession, caller: Principal, email: str, password: str) -> None:
        """Send a link to the new address and a warning to the old one. Whether the new one has an account is found out after the answer;
        its owner is told then.

        Raises ``Unprocessable`` (422) for what is no address, ``MailIsOff`` (404), and what ``PasswordProof`` and the limiter raise
        (400, 401, 403, 429, 503).
        """
        address = checked_email(email)
        proven = await self._proof.prove(db, caller, password)
        await self._letters.admit("change_email", address)
        user = await self._proof.lock(db, proven)
        user_id, password_hash = user.id, proven.password_hash
        await self._audit.record(db, "email.change_requested", user_id, email=address)
        self._letters.tell(db, self._letters.texts.change_email_asked(user.email))

        async def write() -> Mail | None:
            return await self._write_change(user_id, address, password_hash)

        self._letters.after(db, "change_email", write)

    async def _write_change(self, user_id: UUID, email: str, password_hash: str) -> Mail | None:
        async with get_db_context(self._database) as db:
            users = UserRepository(db)
            owner = await users.get_by_email(email)
            if owner is not None and owner.id != user_id:
                return self._letters.texts.has_account(owner.email) if owner.is_active else None
            user = await users.lock(user_id)
            # A password that was set meanwhile stops the change.
            if user is None or not user.is_active or user.password_hash != password_hash:
                return None
            token = await self._tokens.issue(db, "change_email", email, user)
            return self._letters.texts.change_email(email, token)

    async def confirm(self, db: AsyncSession, token: str) -> None:
        """The token's address is its user's, and verified: the one that he has, or the one that he asked for.

        Links to the old address are not good any more then, and it is told. Sessions go on. Raises ``BadEmailToken`` (400), and
        ``EmailTaken`` (409) when the address got an account meanwhile: only who reads its mail learns that.
        """
        found = await self._tokens.find(db, token, "verify_email", "change_email")
        is_change, email = found.purpose == "change_email", found.email
        users = UserRepository(db)
        user = await users.lock(found.user_id) if found.user_id is not None else None
        if user is None or not user.is_active:
            raise BadEmailToken
        await self._tokens.take(db, token)
        if is_change:
            await self._change(db, users, user, email)
        elif email_key(email) != user.email_key:
            raise BadEmailToken
        else:
            await self._audit.record(db, "email.verified", user.id)
        user.email_verified_at = self._tokens.now()

    async def _change(self, db: AsyncSession, users: UserRepository, user: User, email: str) -> None:
        former = user.email
        await users.change_email(user, email)
        await self._tokens.forget(db, user)
        await self._audit.record(db, "email.changed", user.id, former=former, email=email)
        self._letters.tell(db, self._letters.texts.email_changed(former))
