"""Second factors over HTTP, on the whole service: from the QR code to the sign-in without one."""

import time
from collections.abc import Callable
from typing import Any

import httpx2
import pyotp
import pytest
from fastapi import FastAPI

from app.builtin.accounts.models import User
from app.builtin.accounts.service import create_user
from app.core.db import Database, get_db_context
from app.core.errors import ConfigurationError
from app.core.security import PasswordHasher
from app.main import create_app
from app.settings import Settings

PASSWORD = "correct horse battery staple"
EMAIL = "ann@example.com"
pytestmark = pytest.mark.usefixtures("clean_database", "clean_store")
MALFORMED: tuple[tuple[str, dict[str, str]], ...] = (
    ("token", {"mfa_token": "mfa_x"}),
    ("token", {"code": "918273"}),
    ("token", {"mfa_token": "mfa_x", "code": "91827"}),
    ("token", {"mfa_token": "mfa_x", "code": "91827a"}),
    ("token", {"mfa_token": "mfa_x", "code": "\u0669\u0661\u0668\u0662\u0667\u0663"}),
    ("token", {"mfa_token": "mfa_x", "code": "9" * 1000}),
    ("token", {"mfa_token": "mfa_x", "code": "918273", "recovery_code": "A" * 16}),
    ("token", {"mfa_token": "mfa_x", "recovery_code": "ABCD-0189-ABCD-ABCD"}),
    ("token", {"mfa_token": "mfa_x", "password": PASSWORD}),
    ("token", {"mfa_token": "x" * 256, "code": "918273"}),
    ("token", {"mfa_token": "mfa_x", "code": "918273", "scope": "write:records"}),
    ("step-up", {}),
    ("step-up", {"code": "918273", "password": PASSWORD}),
    ("step-up", {"password": "x" * 129}),
    ("enrolment/confirm", {}),
    ("enrolment/confirm", {"code": ""}),
    ("enrolment/confirm", {"code": "918273", "recovery_code": "A" * 16}),
)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(mfa={"issuer": "Gate House", "required_roles": ["admin"]})


@pytest.fixture
async def ann(database: Database, hasher: PasswordHasher) -> User:
    async with get_db_context(database) as db:
        rights = {"roles": ["admin", "db_reader"], "scopes": ["read:records", "write:records"]}
        return await create_user(db, hasher, EMAIL, PASSWORD, **rights)


class Caller:
    """Somebody with an access token."""

    def __init__(self, client: httpx2.AsyncClient, token: str) -> None:
        self._client = client
        self._header = {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, **form: str) -> httpx2.Response:
        return await self._client.request(method, f"/auth/mfa{path}", headers=self._header, data=form or None)

    async def roles(self) -> list[str]:
        """What his token lets him be."""
        roles: list[str] = (await self._client.get("/users/me", headers=self._header)).json()["roles"]
        return roles

    async def done(self, method: str, path: str, **form: str) -> dict[str, Any]:
        answer = await self.ask(method, path, **form)
        assert answer.status_code in {200, 201}, answer.text
        if method == "POST":
            assert answer.headers["cache-control"] == "no-store"
        body: dict[str, Any] = answer.json()
        return body


async def sign_in(client: httpx2.AsyncClient, **form: str) -> httpx2.Response:
    return await client.post("/auth/token", data={"username": EMAIL, "password": PASSWORD, **form})


async def finish(client: httpx2.AsyncClient, token: str, **proof: str) -> httpx2.Response:
    return await client.post("/auth/mfa/token", data={"mfa_token": token, **proof})


async def test_from_enrolment_to_the_second_half_of_a_sign_in_and_back(
    client: httpx2.AsyncClient, ann: User
) -> None:
    first = Caller(client, (await sign_in(client)).json()["access_token"])
    assert (await first.done("GET", "")) == {"enabled": False, "since": None, "recovery_codes_left": 0}
    begun = await first.done("POST", "/enrolment")
    assert begun["uri"].startswith("otpauth://totp/Gate%20House:ann%40example.com?secret=")
    assert begun["qr_svg"].startswith("<svg")
    # The machine may be slow: what is asked for last is a code of the step to come, which is good for longest.
    now = int(time.time())
    app = pyotp.TOTP(begun["secret"])
    enabled = await first.done("POST", "/enrolment/confirm", code=app.at(now))
    assert len(enabled["recovery_codes"]) == 10
    assert await first.roles() == ["db_reader"]
    assert await Caller(client, enabled["access_token"]).roles() == ["admin", "db_reader"]

    waiting = await sign_in(client, scope="read:records")
    assert (waiting.status_code, waiting.headers["cache-control"]) == (401, "no-store")
    body = waiting.json()
    assert (body["error"], body["expires_in"]) == ("mfa_required", 300)
    # Half a sign-in is enough to be known: what that is good for is the password, and it was right.
    device = waiting.cookies["__Host-device"]
    assert device not in waiting.text
    assert waiting.headers["content-type"] == "application/problem+json"
    wrong = await finish(client, body["mfa_token"], recovery_code="A" * 16)
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_grant")
    right = await finish(client, body["mfa_token"], code=app.at(now, counter_offset=1))
    assert right.status_code == 200
    assert right.headers["cache-control"] == "no-store"
    tokens = right.json()
    assert tokens["scope"] == "read:records"
    assert (
        await finish(client, body["mfa_token"], recovery_code=enabled["recovery_codes"][9])
    ).status_code == 401

    second = Caller(client, tokens["access_token"])
    assert await second.roles() == ["admin", "db_reader"]
    refused = await second.ask("POST", "/step-up", password=PASSWORD)
    assert refused.status_code == 422
    renewed = await second.done("POST", "/step-up", recovery_code=enabled["recovery_codes"][0].lower())
    assert renewed.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert renewed["scope"] == "read:records"
    again = await second.ask("POST", "/step-up", recovery_code=enabled["recovery_codes"][0])
    assert (again.status_code, again.json()["error"]) == (401, "invalid_grant")
    third = Caller(client, renewed["access_token"])
    assert (await third.done("GET", ""))["recovery_codes_left"] == 9
    assert len((await third.done("POST", "/recovery-codes"))["recovery_codes"]) == 10
    assert (await third.ask("DELETE", "")).status_code == 204
    assert (await sign_in(client)).status_code == 200


async def test_taking_it_away_needs_it_and_enrolling_a_recent_sign_in(
    client: httpx2.AsyncClient, app: FastAPI, ann: User
) -> None:
    tokens = app.state.gatehouse.tokens
    by_password = Caller(client, tokens.issue(str(ann.id)).token)
    for method, path in (("DELETE", ""), ("POST", "/recovery-codes")):
        answer = await by_password.ask(method, path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == (
            'Bearer error="insufficient_user_authentication", acr_values="mfa", max_age="300"'
        )
    long_ago = Caller(client, tokens.issue(str(ann.id), authenticated_at=time.time() - 700).token)
    for path in ("/enrolment", "/enrolment/confirm"):
        answer = await long_ago.ask("POST", path, code="123456")
        assert answer.headers["www-authenticate"] == (
            'Bearer error="insufficient_user_authentication", max_age="600"'
        )
    for path, form in MALFORMED:
        answer = await by_password.ask("POST", f"/{path}", **form)
        assert answer.status_code == 422, (path, form)
        assert not [value for value in form.values() if len(value) > 4 and value in answer.text]


def test_a_required_role_that_there_is_not_stops_the_start(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigurationError, match="MFA__REQUIRED_ROLES: no role has the name admim"):
        create_app(make_settings(mfa={"required_roles": ["admim"]}))
