"""The life of an account over HTTP, through the real gate, on one running service."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.builtin.accounts.service import PasswordReset, create_user
from app.core.db import Database, after_commit_idle
from app.core.http import Platform
from app.core.mail import Mailer, Postman
from app.core.security import PasswordHasher
from app.main import create_app
from app.registry import FEATURES, Feature
from app.settings import MailSettings, RegistrationSettings, Settings
from tests.apps import client_of, running
from tests.builtin.accounts.lives import BASE, OTHER, PASSWORD, Outbox

RESET, REGISTER = "/auth/password-reset", "/auth/register"


@dataclass
class Service:
    http: httpx2.AsyncClient
    outbox: Outbox
    postman: Postman

    async def settle(self) -> None:
        await after_commit_idle()
        await self.postman.idle()

    async def sign_in(self, email: str, password: str) -> httpx2.Response:
        return await self.http.post("/auth/token", data={"username": email, "password": password})

    async def bearer(self, email: str, password: str = PASSWORD) -> dict[str, str]:
        token = (await self.sign_in(email, password)).json()["access_token"]
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
async def service(make_settings: Callable[..., Settings], hasher: PasswordHasher) -> AsyncIterator[Service]:
    """Everything, with mails that are kept and weak hashes."""
    outbox = Outbox()

    def mails(_platform: Platform, _settings: Any) -> Mapping[type[Any], Any]:
        return {Mailer: outbox}

    settings = make_settings(
        mail=MailSettings(base_url=BASE),
        registration=RegistrationSettings(enabled=True, scopes=["read:records"]),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.builtin.accounts.service.provide.PasswordHasher", lambda: hasher)
        app = create_app(settings, registry=(Feature(name="mails", provides=mails), *FEATURES))
    platform: Platform = app.state.gatehouse
    platform.on_stop.remove(hasher.close)
    postman = platform.require(PasswordReset)._letters._postman
    assert postman is not None
    async with running(app), client_of(app) as http:
        yield Service(http, outbox, postman)


@pytest.fixture
async def ann(
    database: Database, hasher: PasswordHasher, service: Service, clean_database: None, clean_store: None
) -> AsyncIterator[str]:
    """The address of a user."""
    service.outbox.mails.clear()
    email = f"ann-{uuid4().hex}@example.com"
    async with database.session() as session:
        await create_user(session, hasher, email, PASSWORD, scopes=["read:records"])
        await session.commit()
    yield email
    await service.settle()


def shown(answer: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    varying = {"x-request-id", "ratelimit", "date"}
    return answer.status_code, answer.content, {k: v for k, v in answer.headers.items() if k not in varying}


@pytest.mark.parametrize("path", [RESET, REGISTER])
async def test_a_known_and_an_unknown_address_get_the_same_answer_and_the_host_leads_nowhere(
    service: Service, ann: str, path: str
) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Origin": "https://evil.example"}
    answers = [
        await service.http.post(path, json={"email": email}, headers=headers)
        for email in (ann, f"nobody-{uuid4().hex}@example.com")
    ]
    assert shown(answers[0]) == shown(answers[1])
    assert answers[0].status_code == 202
    await service.settle()
    assert service.outbox.mails
    assert not [mail for mail in service.outbox.mails if "evil" in mail.text + mail.subject]
    assert f"{BASE}/" in "".join(mail.text for mail in service.outbox.mails)


async def test_a_reset_signs_everybody_out_at_once(service: Service, ann: str) -> None:
    session = await service.bearer(ann)
    assert (await service.http.get("/users/me", headers=session)).status_code == 200
    assert (await service.http.post(RESET, json={"email": ann})).status_code == 202
    await service.settle()
    body = {"token": service.outbox.token(ann), "new_password": OTHER}
    done = await service.http.post(f"{RESET}/confirm", json=body)
    assert (done.status_code, done.content) == (204, b"")
    refused = await service.http.get("/users/me", headers=session)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    again = await service.http.post(f"{RESET}/confirm", json=body)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_email_token")
    assert again.headers["content-type"] == "application/problem+json"
    assert (await service.sign_in(ann, PASSWORD)).status_code == 401
    assert (await service.sign_in(ann, OTHER)).status_code == 200


async def test_a_changed_password_signs_everybody_out_at_once(service: Service, ann: str) -> None:
    session = await service.bearer(ann)
    wrong = {"current_password": "wrong password", "new_password": OTHER}
    refused = await service.http.post("/users/me/password", json=wrong, headers=session)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_password")
    body = {"current_password": PASSWORD, "new_password": OTHER}
    assert (await service.http.post("/users/me/password", json=body, headers=session)).status_code == 204
    assert (await service.http.get("/users/me", headers=session)).status_code == 401
    assert (await service.sign_in(ann, OTHER)).status_code == 200
    await service.settle()
    assert service.outbox.sent() == [("password_changed", ann)]


async def test_an_address_is_verified_and_changed(service: Service, ann: str) -> None:
    session = await service.bearer(ann)
    other = f"new-{ann}"
    assert (await service.http.post("/auth/email-verification", headers=session)).status_code == 202
    await service.settle()
    confirm = "/auth/email-verification/confirm"
    assert (await service.http.post(confirm, json={"token": service.outbox.token(ann)})).status_code == 204
    body = {"email": other, "current_password": PASSWORD}
    assert (await service.http.post("/users/me/email", json=body, headers=session)).status_code == 202
    await service.settle()
    assert (await service.http.post(confirm, json={"token": service.outbox.token(other)})).status_code == 204
    assert (await service.http.get("/users/me", headers=session)).json()["email"] == other


async def test_somebody_registers_and_signs_in(service: Service, ann: str) -> None:
    email = f"new-{ann}"
    assert (await service.http.post(REGISTER, json={"email": email})).status_code == 202
    await service.settle()
    body = {"token": service.outbox.token(email), "password": OTHER}
    made = await service.http.post(f"{REGISTER}/confirm", json=body)
    assert made.status_code == 201
    assert "access_token" not in made.text
    assert (await service.http.post(f"{REGISTER}/confirm", json=body)).status_code == 400
    assert (await service.sign_in(email, OTHER)).json()["scope"] == "read:records"


async def test_mails_to_one_address_are_limited_and_it_is_no_secret(service: Service, ann: str) -> None:
    for email in (ann, f"nobody-{uuid4().hex}@example.com"):
        statuses = [(await service.http.post(RESET, json={"email": email})).status_code for _ in range(6)]
        assert statuses == [202] * 5 + [429]
    await service.settle()
