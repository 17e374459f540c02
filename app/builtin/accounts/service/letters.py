"""How accounts send mail: never in the way of a request, and never before what they tell is so."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from app.builtin.accounts.models import email_key
from app.builtin.accounts.service.mail_texts import MailTexts
from app.core.context import RequestContext, current_context, reset_context, set_context
from app.core.db import AsyncSession, after_commit
from app.core.errors import NotFound
from app.core.mail import Mail, MailboxFull, Postman

Write = Callable[[], Awaitable[Mail | None]]
_log = structlog.get_logger(__name__)


class MailLimiter(Protocol):
    """Counts mails to one address. ``app.core.policies.AttemptLimit`` is one."""

    async def spend(self, name: str) -> object:
        """Count one. Raises ``PolicyRejected`` (429), or ``Unavailable`` (503) when nobody can count."""
        ...


class MailIsOff(NotFound):
    """This service sends no e-mail, so nobody can ask for one."""

    def __init__(self) -> None:
        super().__init__("This service sends no e-mail.")


class Letters:
    """``texts`` are what is written; ``limits`` count what is sent to one address; without a ``postman`` no mail is sent."""

    def __init__(self, postman: Postman | None, texts: MailTexts, limits: MailLimiter) -> None:
        self._postman = postman
        self._limits = limits
        self.texts = texts

    async def admit(self, kind: str, email: str) -> None:
        """Count a mail of this kind that a caller wants to have sent to this address, known or not.

        Each kind has a count of its own: whoever uses one up must not keep the others from being sent. Raises ``MailIsOff`` (404), and
        what the limiter raises (429, 503).
        """
        if self._postman is None:
            raise MailIsOff
        await self._limits.spend(f"{kind}:{email_key(email)}")

    def later(self, kind: str, write: Write) -> None:
        """Have a mail written and sent when the request is over, so that its answer tells nothing of it. What ``write`` records is recorded
        as this request's. Raises ``MailIsOff`` (404) and ``MailboxFull`` (503).
        """
        if self._postman is None:
            raise MailIsOff
        self._postman.post(kind, _in_this_request(write))

    def after(self, db: AsyncSession, kind: str, write: Write) -> None:
        """The same as soon as ``db`` is committed. Raises nothing: what it tells of is done already, and does not fail for it."""
        postman, writing = self._postman, _in_this_request(write)
        if postman is None:
            return

        async def post() -> None:
            try:
                postman.post(kind, writing)
            except MailboxFull:
                _log.error("mail.failed", kind=kind, reason="too many wait")

        after_commit(db, post)

    def tell(self, db: AsyncSession, mail: Mail) -> None:
        """``after`` for a mail that is written."""

        async def written() -> Mail:
            return mail

        self.after(db, mail.kind, written)


def _in_this_request(write: Write) -> Write:
    now = current_context()
    # No more than that: the request's deadline and sessions are not those of what is done after it.
    kept = RequestContext(request_id=now.request_id, principal=now.principal)

    async def write_in_context() -> Mail | None:
        before = set_context(kept)
        try:
            return await write()
        finally:
            reset_context(before)

    return write_in_context
