"""One call of a webhook, against a real server on real sockets."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from app.builtin.jobs.service.webhook_sender import Answer, WebhookSender
from app.core.http import APIRouter, api_worker, enforce_all_policies
from app.core.policies import JobConfig, WebhookSignature
from app.core.resilience import ManualClock, SystemClock
from app.core.security import WebhookKeys
from app.settings import Settings
from tests.builtin.jobs.names import Names
from tests.core.http.gated import routed
from tests.upstream import Upstream, fields_of, reply

NEW, OLD = ("whsec_" + b64encode(letter * 32).decode() for letter in (b"n", b"o"))
NOW = 1_800_000_000
BODY = b'{"type":"ping"}'


class Sending:
    """A sender that stands at ``NOW``, and what it is to be told."""

    def __init__(self, upstream: Upstream, stop: AsyncExitStack) -> None:
        self.upstream = upstream
        self._stop = stop
        self.sender = self.made(allow_private=True)

    def made(self, **options: Any) -> WebhookSender:
        sender = WebhookSender(ManualClock(start=NOW), **options)
        self._stop.push_async_callback(sender.close)
        return sender

    async def __call__(
        self, sender: WebhookSender | None = None, *, host: str = "127.0.0.1", scheme: str = "http"
    ) -> Answer:
        url = httpx2.URL(f"{scheme}://{host}:{self.upstream.port}/hook?key=1")
        return await (sender or self.sender).send(url, "0192", BODY, [NEW])


@pytest.fixture
async def sending(upstream: Upstream) -> AsyncIterator[Sending]:
    async with AsyncExitStack() as stop:
        yield Sending(upstream, stop)


async def test_a_message_says_who_sends_it_when_and_signs_that(sending: Sending) -> None:
    answer = await sending()
    assert (answer.status, answer.error, answer.is_good) == (200, None, True)
    (head,), (body,) = sending.upstream.requests, sending.upstream.bodies
    fields = fields_of(head)
    assert head.startswith("POST /hook?key=1 HTTP/1.1\r\n")
    assert body == BODY
    assert fields == {
        "host": f"127.0.0.1:{sending.upstream.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "content-length": str(len(BODY)),
        "content-type": "application/json",
        "user-agent": "Gatehouse-Webhooks/1",
        "webhook-id": "0192",
        "webhook-timestamp": str(NOW),
        "webhook-signature": WebhookKeys([NEW]).sign("0192", str(NOW), BODY),
    }


async def test_while_a_secret_is_changed_both_sign(sending: Sending) -> None:
    await sending.sender.send(httpx2.URL(sending.upstream.url), "0192", BODY, [NEW, OLD])
    signatures = fields_of(sending.upstream.requests[0])["webhook-signature"]
    assert len(signatures.split(" ")) == 2
    for secret in (NEW, OLD):
        assert WebhookKeys([secret]).is_signed(signatures, "0192", str(NOW), BODY)


async def test_cookies_and_proxies_are_nothing_to_it(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    sender = sending.made(allow_private=True)
    sending.upstream.always(reply({}, set_cookie="session=of-somebody"))
    assert [(await sending(sender)).status, (await sending(sender)).status] == [200, 200]
    assert "cookie" not in sending.upstream.requests[1].lower()


async def test_any_other_status_is_an_answer_and_a_redirect_is_not_followed(sending: Sending) -> None:
    target = f"{sending.upstream.url}/elsewhere"
    for status in (301, 302, 307, 308, 400, 404, 410, 500):
        sending.upstream.answers(reply({}, status, location=target, retry_after="9"))
        answer = await sending()
        assert (answer.status, answer.is_good, answer.is_unwell, answer.retry_after_s) == (
            status,
            False,
            status >= 500,
            0.0,
        )
    assert len(sending.upstream.requests) == 8
    assert not any("elsewhere" in head for head in sending.upstream.requests)


async def test_whoever_is_busy_may_say_for_how_long(sending: Sending) -> None:
    for said, wait_s in (
        ("7", 7.0),
        ("99999", 3600.0),
        ("-1", 0.0),
        ("soon", 0.0),
        ("9" * 400, 0.0),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2029 08:01:00 GMT", 3600.0),
    ):
        for status in (429, 503):
            sending.upstream.answers(reply({}, status, retry_after=said))
            assert (await sending()).retry_after_s == wait_s, said


async def test_what_is_no_answer_says_why_in_a_few_words(sending: Sending) -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 60_000
    for sent, words in (
        (b"not http at all\r\n\r\n", "no valid answer"),
        (b"", "no valid answer"),
        (endless, "no valid answer"),
    ):
        sending.upstream.answers(sent)
        answer = await sending()
        assert (answer.status, answer.error, answer.is_good, answer.is_unwell) == (None, words, False, True)
    sending.upstream.port = 1
    assert (await sending()).error == "no connection"


async def test_whoever_cannot_prove_his_name_gets_nothing(sending: Sending) -> None:
    heard: list[bytes] = []

    async def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply({}))
        heard.append(await reader.read(65_536))
        writer.close()

    server = await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
    sending.upstream.port = server.sockets[0].getsockname()[1]
    assert (await sending(scheme="https")).error == "TLS failed"
    server.close()
    await server.wait_closed()
    assert BODY not in b"".join(heard)


async def test_whoever_takes_too_long_is_left(sending: Sending) -> None:
    hasty = sending.made(allow_private=True, limit_s=0.3)
    sending.upstream.always(None)
    assert (await sending(hasty)).error == "timeout"
    # Its head was in time: the body, which comes slowly or not at all, changes nothing.
    sending.upstream.always(reply(body=b"", content_length="10"))
    assert (await sending(hasty)).status == 200


async def test_a_long_answer_is_not_read(sending: Sending) -> None:
    for _ in range(2):
        sending.upstream.answers(reply(body=b"x" * 2_000_000))
        assert (await sending()).is_good
    assert sending.upstream.connections == 2


async def test_no_private_address_is_called_however_it_is_written(sending: Sending) -> None:
    outside = sending.made()
    for host in (
        "127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::1]", "[::ffff:127.0.0.1]",
        "169.254.169.254",
    ):  # fmt: skip
        assert (await sending(outside, host=host)).error == "address refused", host
    assert sending.upstream.connections == 0


async def test_a_name_that_leads_elsewhere_by_the_time_of_the_call_is_refused(sending: Sending) -> None:
    for answer, allow_private in (
        (["127.0.0.1"], False),
        (["93.184.215.14", "127.0.0.1"], False),
        (["169.254.169.254"], True),
    ):
        names = Names(answer)
        sender = sending.made(allow_private=allow_private, resolve=names)
        assert (await sending(sender, host="hook.example")).error == "address refused"
        assert names.asked == 1
    assert sending.upstream.connections == 0


async def test_a_gatehouse_that_checks_signatures_takes_it_once(
    settings: Settings, sending: Sending, clean_store: None
) -> None:
    told: list[dict[str, Any]] = []
    router = APIRouter()
    config = JobConfig.public(webhook=WebhookSignature(source="gatehouse"))

    @router.post("/told", dependencies=[enforce_all_policies("told", config)])
    @api_worker(config)
    async def take(note: dict[str, Any]) -> dict[str, int]:
        told.append(note)
        return {"told": len(told)}

    sender = WebhookSender(SystemClock(), allow_private=True)
    await sender.send(httpx2.URL(sending.upstream.url), "0192", BODY, [NEW, OLD])
    await sender.close()
    (head,), (body,) = sending.upstream.requests, sending.upstream.bodies
    fields = {name: value for name, value in fields_of(head).items() if name != "host"}
    secrets = {"gatehouse": SecretStr(OLD)}
    async with routed(settings.model_copy(update={"webhook_secrets": secrets}), router) as client:
        answers = [await client.post("/told", content=body, headers=fields) for _ in range(2)]
        forged = await client.post("/told", content=body + b" ", headers=fields | {"content-length": "16"})
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"told": 1})] * 2
    assert (forged.status_code, told) == (401, [{"type": "ping"}])
