"""Writes and sends mails in the background, so that no request waits for them or fails with them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

import structlog

from app.core.errors import Unavailable
from app.core.mail._errors import MailboxFull, MailNotSent
from app.core.mail._mail import Mail, Mailer
from app.core.observability import count_mail

Letter = Callable[[], Awaitable[Mail | None]]
_log = structlog.get_logger(__name__)


class Postman:
    """The mails of one process that are on their way: at most ``most`` in all, ``at_once`` of them in a conversation.

    A failure that may pass is tried again, ``tries`` times in all, after ``pause_s`` and then four times as long each time. A mail that
    could not be sent is logged (``mail.failed``) and counted (``gatehouse_mails_total``), and is gone: a process that dies loses what it
    had not sent. So only for mails that their reader can ask for again, or could do without. ``limit_s`` bounds one try. ``sleep`` is for
    tests. Belongs to one event loop.
    """

    def __init__(
        self,
        mailer: Mailer,
        *,
        most: int = 1000,
        at_once: int = 4,
        tries: int = 4,
        pause_s: float = 2.0,
        limit_s: float = 60.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._mailer = mailer
        self._most = most
        self._places = asyncio.Semaphore(at_once)
        self._tries = tries
        self._pause_s = pause_s
        self._limit_s = limit_s
        self._sleep = sleep
        self._under_way: set[asyncio.Task[None]] = set()
        self._resting: set[asyncio.Task[None]] = set()
        self._closed = False

    def post(self, kind: str, write: Letter) -> None:
        """Have ``write`` called, once it succeeds, and what it writes sent; None is no mail. Returns at once.

        ``write`` runs outside the caller's context: the request may be over. Raises ``MailboxFull`` (503).
        """
        if self._closed or len(self._under_way) >= self._most:
            count_mail("refused")
            _log.warning("mail.refused", kind=kind, waiting=len(self._under_way))
            raise MailboxFull
        task = asyncio.get_running_loop().create_task(self._deliver(kind, write), context=Context())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def idle(self) -> None:
        """Wait until nothing is under way, retries included."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def close(self, limit_s: float = 5.0) -> None:
        """Take no more; give those in a conversation ``limit_s`` seconds. Those that wait for another try are given up."""
        self._closed = True
        for task in tuple(self._resting):
            task.cancel()
        if self._under_way:
            _, late = await asyncio.wait(set(self._under_way), timeout=limit_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _deliver(self, kind: str, write: Letter) -> None:
        try:
            outcome, reason = await self._try_all(write)
        except asyncio.CancelledError:
            count_mail("failed")
            _log.error("mail.failed", kind=kind, reason="stopped")
            raise
        except Exception:  # noqa: BLE001 - the outermost frame of a task that nobody waits for
            count_mail("failed")
            _log.exception("mail.failed", kind=kind)
            return
        count_mail(outcome)
        if outcome == "failed":
            _log.error("mail.failed", kind=kind, reason=reason)

    async def _try_all(self, write: Letter) -> tuple[str, str | None]:
        """What became of it, and why it failed if it did."""
        mail: Mail | None = None
        reason: str | None = None
        for turn in range(self._tries):
            if turn:
                await self._rest(self._pause_s * 4 ** (turn - 1))
            try:
                async with self._places, asyncio.timeout(self._limit_s):
                    mail = mail or await write()
                    if mail is None:
                        return "unneeded", None
                    await self._mailer.send(mail)
                    return "sent", None
            except MailNotSent as error:
                reason = error.reason
                if error.is_final:
                    break
            except (Unavailable, TimeoutError) as error:
                reason = type(error).__name__
        return "failed", reason

    async def _rest(self, seconds: float) -> None:
        if self._closed:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we are in the task that post() made
        self._resting.add(task)
        try:
            await self._sleep(seconds)
        finally:
            self._resting.discard(task)
