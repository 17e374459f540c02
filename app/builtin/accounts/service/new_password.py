"""What a new password brings with it."""

from app.builtin.accounts.models import User
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.email_tokens import EmailTokens
from app.builtin.accounts.service.letters import Letters
from app.builtin.accounts.service.revocation import Revocation
from app.core.db import AsyncSession


class NewPassword:
    """Sets a password, and ends what the old one may have opened for somebody else."""

    def __init__(
        self, *, revocation: Revocation, tokens: EmailTokens, audit: AuditLog, letters: Letters
    ) -> None:
        self._revocation = revocation
        self._tokens = tokens
        self._audit = audit
        self._letters = letters

    async def give(self, db: AsyncSession, user: User, password_hash: str, event: str) -> None:
        """Give the locked user this one: all his sessions and access tokens end, links that he was sent too; he is told by mail.

        His second factors stay. Raises StoreError (503), and nothing has changed when the caller rolls back.
        """
        await self._revocation.end_all_sessions(db, user.id, "password_changed")
        await self._tokens.forget(db, user)
        user.password_hash = password_hash
        await self._audit.record(db, event, user.id)
        self._letters.tell(db, self._letters.texts.password_changed(user.email))
