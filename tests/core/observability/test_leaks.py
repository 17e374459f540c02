"""A whole run, searched for its secrets; and the search itself, which must be able to fail."""

import logging
import re
import secrets
from collections.abc import Iterator

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from pydantic import BaseModel, Field

from app.builtin.accounts.service import email_tokens, mfa_sign_in, sessions
from app.builtin.accounts.service.opaque_tokens import new_token
from app.core.http._edge import EdgeMiddleware
from app.core.http._problem import install_problem_handlers
from app.core.http._traffic import TrafficControl
from app.core.observability import (
    EventHub,
    Metrics,
    PolicyEvent,
    RequestReports,
    access_log,
    log_sink,
    redact_text,
)
from app.core.security import PasswordHasher
from app.settings import DEVELOPMENT_SECRET
from tests.cases import each_case
from tests.leaks import FORMS, WORDS, LeakGuard

PASSWORD = "a-word-of-this-file-alone-7391"  # the guard of the whole run knows what other tests tried
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJlLTEyMw"


@pytest.fixture
def guard() -> Iterator[LeakGuard]:
    root, configuration = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    guard = LeakGuard()
    with guard.watching():
        yield guard
    root.handlers[:], root.level = handlers, level
    structlog.configure(**configuration)


def make_app() -> tuple[FastAPI, RequestReports]:
    app = FastAPI()
    install_problem_handlers(app)
    reports = RequestReports(access_log())

    class Login(BaseModel):
        password: str = Field(max_length=12)

    @app.post("/login")
    async def login(body: Login) -> str:
        return body.password

    @app.get("/fail")
    async def fail(password: str) -> None:
        raise RuntimeError(f"cannot log in to postgresql://app:{password}@db/app with token={TOKEN}")

    @app.get("/answer", response_model=Login)
    async def answer() -> dict[str, str]:
        return {"password": PASSWORD}

    app.add_middleware(EdgeMiddleware, traffic=TrafficControl(audited=True), report=reports)
    return app, reports


async def test_no_line_of_a_run_holds_a_secret(guard: LeakGuard) -> None:
    guard.watch(PASSWORD, "the password")
    guard.watch(TOKEN, "the token")
    app, reports = make_app()
    headers = {"Authorization": f"Bearer {TOKEN}", "Cookie": f"session={TOKEN}", "X-Request-ID": TOKEN}
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test", headers=headers
    ) as client:
        statuses = [
            (await client.post("/login", json={"password": PASSWORD})).status_code,
            (await client.get(f"/fail?password={PASSWORD}")).status_code,
            (await client.get("/answer")).status_code,
            (await client.get(f"/unknown/{TOKEN}?password={PASSWORD}")).status_code,
        ]
    reports.flush()
    assert statuses == [422, 500, 500, 404]
    assert guard.seen >= 3
    guard.check()


def test_a_leak_is_found_and_named_once(guard: LeakGuard) -> None:
    guard.watch(PASSWORD, "the password")
    structlog.get_logger().info("greeting", text=f"hello {PASSWORD}")
    with pytest.raises(AssertionError, match=r"the password in: .*hello <HERE>"):
        guard.check()
    guard.check()


def test_a_short_secret_cannot_be_watched() -> None:
    with pytest.raises(ValueError, match="8 characters"):
        LeakGuard().watch("short")


SAMPLES = {
    "a token": TOKEN,
    "an opaque token": "rt_zR4uHk9sWq2XvB7nLp0TjYc5mDfGaE8oIi1KlMxQw3e",
    "an API key": "sk_2NBx9Tq_7hYwQ2mR4kVb_kP3vX8sLw0QzT5yB1nDc7RfGj",
    "a secret of webhooks": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a hash of a password": "$argon2id$",
    "an address of TOTP": "otpauth://totp/Gatehouse:ann?secret=JBSWY3DPEHPK3PXP&issuer=x",
    "a TOTP secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
}


class TestWhatIsKnown:
    @each_case("name", [*FORMS, *WORDS])
    def test_a_secret_is_known_by_its_form(self, name: str) -> None:
        guard = LeakGuard()
        guard.look(f"got {SAMPLES[name]} today".encode())
        with pytest.raises(AssertionError, match=f"{name} in: got <HERE> today"):
            guard.check()

    @each_case("prefix", ["", "mt_", "et_"])
    def test_a_random_text_is_known_because_it_was_made_here(self, prefix: str) -> None:
        guard = LeakGuard()
        with guard.remembering():
            secret, name = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
        guard.look(f"session {name}".encode())
        guard.check()
        guard.look(f'{{"note": "{prefix}{secret}"}}'.encode())
        with pytest.raises(AssertionError, match="<HERE>"):
            guard.check()

    def test_a_password_is_known_because_it_was_hashed_or_tried_here(self) -> None:
        guard, hasher = LeakGuard(), PasswordHasher(memory_kib=64, time_cost=1, parallelism=1)
        with guard.remembering():
            hashed = hasher.hash("the first of these")
            hasher.verify("the second of these", hashed)
            hasher.verify_dummy("the third of these")
        for which in ("first", "second", "third"):
            guard.look(f"tried the {which} of these".encode())
            with pytest.raises(AssertionError, match="a password in: tried <HERE>"):
                guard.check()

    def test_what_metrics_show_is_looked_at(self, leak_guard: LeakGuard) -> None:
        secret, metrics = secrets.token_urlsafe(32), Metrics()
        hub = EventHub()
        metrics.subscribe(hub)
        hub.emit(PolicyEvent(secret, "admitted", "none"))
        assert secret.encode() in metrics.exposition()
        with pytest.raises(AssertionError, match="a random text in: "):
            leak_guard.check()

    def test_ordinary_lines_are_no_leaks(self) -> None:
        guard = LeakGuard()
        with guard.remembering():
            secrets.token_urlsafe(32)
        for line in (
            b"test_a_name_of_a_test_with_many_words_in_it_and_some_more passed",
            b"request 01a20093-cb6c-76d3-bf90-309147bc5577 of 0af7651916cd43dd8448eb211c80319c",
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF",
        ):
            guard.look(line)
        guard.check()


@each_case(
    ("secret", "shown"),
    [
        (SAMPLES["an opaque token"].replace("rt_", "mt_"), "[redacted]"),
        (SAMPLES["an opaque token"].removeprefix("rt_"), "[redacted]"),
        (SAMPLES["a secret of webhooks"], "[redacted]"),
        ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA", "[redacted]"),
        (SAMPLES["a TOTP secret"], "[redacted]"),
        (SAMPLES["an address of TOTP"], "[redacted]"),
    ],
)
def test_what_the_guard_knows_by_form_is_also_taken_out_of_lines(secret: str, shown: str) -> None:
    assert redact_text(f"got {secret} today") == f"got {shown} today"


def test_our_opaque_tokens_have_the_form_that_is_looked_for() -> None:
    for module in (sessions, mfa_sign_in, email_tokens):
        assert re.fullmatch(r"[a-z]{2,6}_[\w-]{43}", new_token(module._PREFIX))
    assert len(SAMPLES["an opaque token"]) == len(new_token(sessions._PREFIX))


def test_the_whole_run_is_watched(leak_guard: LeakGuard) -> None:
    before = leak_guard.seen
    log_sink.write(b"nothing secret")
    assert leak_guard.seen == before + 1
    log_sink.write(DEVELOPMENT_SECRET.encode())
    with pytest.raises(AssertionError, match="a secret in: <HERE>"):
        leak_guard.check()
