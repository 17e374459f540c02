"""A whole run, searched for its secrets; and the search itself, which must be able to fail."""

import logging
from collections.abc import Iterator

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from pydantic import BaseModel, Field

from app.builtin.accounts.service.opened import new_token
from app.core.http._edge import EdgeMiddleware
from app.core.http._problem import install_problem_handlers
from app.core.http._traffic import TrafficControl
from app.core.observability import RequestReports, access_log, log_sink
from app.settings import DEVELOPMENT_SECRET
from tests.leaks import LeakGuard

PASSWORD = "correct-horse-battery"
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


@pytest.mark.parametrize(
    "token",
    [b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJlLTEyMw", new_token().encode()],
    ids=["access", "refresh"],
)
def test_a_token_is_known_by_its_form(token: bytes) -> None:
    guard = LeakGuard()
    guard.look(b"got " + token + b" today")
    with pytest.raises(AssertionError, match="a token in: got <HERE> today"):
        guard.check()


def test_the_whole_run_is_watched(leak_guard: LeakGuard) -> None:
    before = leak_guard.seen
    log_sink.write(b"nothing secret")
    assert leak_guard.seen == before + 1
    log_sink.write(DEVELOPMENT_SECRET.encode())
    with pytest.raises(AssertionError, match="a secret in: <HERE>"):
        leak_guard.check()
