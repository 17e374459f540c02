"""Nobody waits for a mail, and none is lost in silence."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from app.core.context import RequestContext, current_context, reset_context, set_context
from app.core.errors import Unavailable
from app.core.mail import Mail, MailboxFull, MailNotSent, Postman

MAIL = Mail(kind="test", to="ann@example.com", subject="Hello", text="secret-of-a-mail")


class Mailer:
    """Raises what it is given, one for each try, and then takes mails."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.sent: list[Mail] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, mail: Mail) -> None:
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(mail)


class Pauses:
    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def writes(mail: Mail | None, *errors: Exception) -> Callable[[], Awaitable[Mail | None]]:
    left = list(errors)

    async def write() -> Mail | None:
        if left:
            raise left.pop(0)
        return mail

    return write


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("gatehouse_mails_total", {"outcome": outcome}) or 0.0


class TestPost:
    async def test_it_returns_before_anything_is_written_or_sent(self) -> None:
        mailer, before = Mailer(), counted("sent")
        postman = Postman(mailer)
        postman.post("test", writes(MAIL))
        assert mailer.sent == []
        await postman.idle()
        assert mailer.sent == [MAIL]
        assert counted("sent") == before + 1

    async def test_nothing_of_the_request_is_around_it(self) -> None:
        seen = []

        async def write() -> None:
            seen.append(current_context())

        before = set_context(RequestContext(request_id="r-1", deadline=1.0))
        try:
            postman = Postman(Mailer())
            postman.post("test", write)
        finally:
            reset_context(before)
        await postman.idle()
        assert seen == [RequestContext()]

    async def test_no_mail_is_no_failure(self) -> None:
        mailer, before = Mailer(), counted("unneeded")
        postman = Postman(mailer)
        postman.post("test", writes(None))
        await postman.idle()
        assert (mailer.sent, counted("unneeded")) == ([], before + 1)

    async def test_more_than_it_keeps_are_refused_and_counted(self) -> None:
        mailer, before = Mailer(), counted("refused")
        mailer.open.clear()
        postman = Postman(mailer, most=2)
        for _ in range(2):
            postman.post("test", writes(MAIL))
        with pytest.raises(MailboxFull):
            postman.post("test", writes(MAIL))
        mailer.open.set()
        await postman.idle()
        assert (len(mailer.sent), counted("refused")) == (2, before + 1)


class TestRetry:
    async def test_what_may_pass_is_tried_again_after_longer_and_longer_pauses(self) -> None:
        mailer, pauses = Mailer(MailNotSent("450"), MailNotSent("SMTPConnectError")), Pauses()
        postman = Postman(mailer, pause_s=1, sleep=pauses)
        postman.post("test", writes(MAIL, Unavailable("no database")))
        await postman.idle()
        assert (mailer.sent, pauses.taken) == ([MAIL], [1, 4, 16])

    @pytest.mark.parametrize(
        ("errors", "reason"),
        [([MailNotSent("550", is_final=True)], "550"), ([MailNotSent("450")] * 4, "450")],
        ids=["at once", "after all tries"],
    )
    async def test_what_is_given_up_is_logged_without_its_text_and_counted(
        self, errors: list[Exception], reason: str
    ) -> None:
        mailer, before = Mailer(*errors), counted("failed")
        postman = Postman(mailer, sleep=Pauses())
        with capture_logs() as logs:
            postman.post("test", writes(MAIL))
            await postman.idle()
        assert (mailer.sent, mailer.errors, counted("failed")) == ([], [], before + 1)
        assert logs == [{"event": "mail.failed", "log_level": "error", "kind": "test", "reason": reason}]

    async def test_a_mistake_in_the_code_is_logged_and_harms_nobody_else(self) -> None:
        mailer = Mailer()
        postman = Postman(mailer)
        with capture_logs() as logs:
            postman.post("test", writes(MAIL, ZeroDivisionError()))
            postman.post("test", writes(MAIL))
            await postman.idle()
        assert mailer.sent == [MAIL]
        assert [(line["event"], line["log_level"]) for line in logs] == [("mail.failed", "error")]


class TestClose:
    async def test_a_conversation_is_ended_and_one_that_rests_is_given_up(self) -> None:
        mailer, resting = Mailer(MailNotSent("450")), asyncio.Event()

        async def rest(_: float) -> None:
            resting.set()
            await asyncio.Event().wait()

        postman = Postman(mailer, sleep=rest)
        postman.post("first", writes(MAIL))
        await resting.wait()
        mailer.open.clear()
        postman.post("second", writes(MAIL))
        with capture_logs() as logs:
            closing = asyncio.create_task(postman.close())
            await asyncio.sleep(0)
            mailer.open.set()
            await closing
        assert mailer.sent == [MAIL]
        assert [(line["kind"], line["reason"]) for line in logs] == [("first", "stopped")]
        with pytest.raises(MailboxFull):
            postman.post("third", writes(MAIL))

    async def test_a_server_that_says_nothing_does_not_hold_up_the_stop(self) -> None:
        mailer = Mailer()
        mailer.open.clear()
        postman = Postman(mailer)
        postman.post("test", writes(MAIL))
        with capture_logs() as logs:
            await postman.close(limit_s=0)
        assert [(line["event"], line["reason"]) for line in logs] == [("mail.failed", "stopped")]
