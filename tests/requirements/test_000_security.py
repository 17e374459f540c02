"""Document 000, section 8: brute force, replay, models for all inputs, and logs without secrets."""

import time

import httpx2
import pyotp
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.service import create_user
from app.core import APIRouter, JobConfig, WebhookSignature, api_worker, enforce_all_policies
from app.core.db import Database, get_db_context
from app.core.security import PasswordHasher, WebhookKeys
from app.main import create_app
from app.registry import Feature
from app.settings import DEVELOPMENT_SECRET, Settings
from tests.apps import client_of, running
from tests.gated import serving
from tests.leaks import LeakGuard

ANN = {"username": "ann@example.com", "password": "correct horse battery staple"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def ann(database: Database, clean_database: None, clean_store: None) -> None:
    """Ann has an account."""
    hasher = PasswordHasher(memory_kib=64, time_cost=1, parallelism=1)
    async with get_db_context(database) as session:
        assert isinstance(session, AsyncSession)
        await create_user(session, hasher, ANN["username"], ANN["password"])
    hasher.close()


async def sign_in(client: httpx2.AsyncClient, password: str) -> httpx2.Response:
    return await client.post("/auth/token", data={**ANN, "password": password})


async def test_000_line_54_guessing_a_password_comes_to_an_end(client: httpx2.AsyncClient, ann: None) -> None:
    answers = [await sign_in(client, f"guess number {number}") for number in range(15)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert sorted(statuses) == statuses, "refused from some attempt on, and for good"
    assert int(answers[-1].headers["retry-after"]) >= 1
    # Whoever guesses it now does not learn that he did.
    assert (await sign_in(client, ANN["password"])).status_code == 429


async def test_000_line_54_a_recorded_message_is_not_worked_on_again(
    settings: Settings, clean_store: None
) -> None:
    router, done = APIRouter(), []
    config = JobConfig.public(webhook=WebhookSignature(source="shop", tolerance=3600.0))

    @router.post("/paid", dependencies=[enforce_all_policies("paid", config)])
    @api_worker(config)
    async def paid() -> int:
        done.append("paid")
        return len(done)

    secrets = {"webhook_secrets": {"shop": SecretStr(SECRET)}}
    async with serving(settings.model_copy(update=secrets), Feature(name="shop", router=router)) as service:
        now = str(int(service.platform.clock.time()))
        recorded = {
            "webhook-id": "msg_1",
            "webhook-timestamp": now,
            "webhook-signature": WebhookKeys([SECRET]).sign("msg_1", now, b""),
        }
        answers = [await service.client.post("/paid", headers=recorded) for _ in range(3)]
        forged = await service.client.post("/paid", headers={**recorded, "webhook-id": "msg_2"})
    assert [answer.json() for answer in answers] == [1, 1, 1]
    assert forged.status_code == 401
    assert done == ["paid"]


def test_000_line_54_every_input_has_a_model(app: FastAPI) -> None:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    operations = [
        operation
        for path in document["paths"].values()
        for operation in path.values()
        if "responses" in operation
    ]
    bodies = [
        media["schema"]
        for operation in operations
        for media in operation.get("requestBody", {"content": {}})["content"].values()
    ]
    assert len(bodies) >= 5
    assert [body for body in bodies if not body.get("$ref", "").startswith("#/components/schemas/")] == []
    models = {body["$ref"].rpartition("/")[2] for body in bodies}
    assert [
        name for name in models if schemas[name].get("type") != "object" or not schemas[name]["properties"]
    ] == []
    named = {f"{name}.{key}": field for name in models for key, field in schemas[name]["properties"].items()}
    named |= {
        f"{operation['operationId']}.{parameter['name']}": parameter["schema"]
        for operation in operations
        for parameter in operation.get("parameters", [])
    }
    assert len(named) >= 20
    typed = {"type", "anyOf", "allOf", "$ref", "enum", "const"}
    assert sorted(name for name, field in named.items() if not typed & field.keys()) == []


async def test_000_line_55_nothing_secret_is_logged(
    client: httpx2.AsyncClient, ann: None, leak_guard: LeakGuard
) -> None:
    seen = leak_guard.seen
    tokens = (await sign_in(client, ANN["password"])).json()
    for name in ("access_token", "refresh_token"):
        leak_guard.watch(tokens[name], name)
    wrong = leak_guard.watch("a password of somebody else")
    bearer = {
        "Authorization": f"Bearer {tokens['access_token']}",
        "Cookie": f"session={tokens['refresh_token']}",
    }
    answers = [
        await sign_in(client, wrong),
        await client.get(f"/users/me?password={wrong}&token={tokens['access_token']}", headers=bearer),
        await client.get(f"/unknown/{tokens['refresh_token']}", headers=bearer),
        await client.post("/auth/refresh", data={"refresh_token": tokens["refresh_token"]}, headers=bearer),
        await client.post("/records", json={"name": wrong, "password": wrong}, headers=bearer),
    ]
    assert [answer.status_code for answer in answers] == [401, 200, 404, 200, 403]
    assert (await client.get("/metrics")).status_code == 200
    assert leak_guard.seen > seen
    leak_guard.check()


async def test_000_line_55_an_endpoint_that_wants_a_second_factor_gets_one(
    client: httpx2.AsyncClient, ann: None
) -> None:
    async def bearer(answer: httpx2.Response) -> dict[str, str]:
        assert answer.status_code == 200
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    password_only = await bearer(await sign_in(client, ANN["password"]))
    begun = await client.post("/auth/mfa/enrolment", headers=password_only)
    app = pyotp.TOTP(begun.json()["secret"])
    code = app.now()
    confirmed = await client.post("/auth/mfa/enrolment/confirm", data={"code": code}, headers=password_only)
    assert confirmed.status_code == 200
    refused = await client.post("/auth/mfa/recovery-codes", headers=password_only)
    assert refused.status_code == 401
    assert 'error="insufficient_user_authentication"' in refused.headers["www-authenticate"]

    half = await sign_in(client, ANN["password"])
    assert (half.status_code, half.json()["error"]) == (401, "mfa_required")
    second = {"mfa_token": half.json()["mfa_token"], "code": app.at(time.time() + 30)}
    both = await bearer(await client.post("/auth/mfa/token", data=second))
    assert (await client.post("/auth/mfa/recovery-codes", headers=both)).status_code == 201


async def test_000_line_294_the_secret_key_is_exchanged_while_its_tokens_live_on(
    settings: Settings, database: Database, ann: None
) -> None:
    new = SecretStr("another secret of these tests, of more than 32 bytes")
    rotated = settings.model_copy(update={"secret_key": new, "secret_keys_accepted": [settings.secret_key]})
    one, two, three = (
        create_app(each) for each in (settings, rotated, settings.model_copy(update={"secret_key": new}))
    )
    async with running(one), client_of(one) as client:
        token = (await sign_in(client, ANN["password"])).json()["access_token"]
    for app, status in ((two, 200), (three, 401)):
        async with running(app), client_of(app) as client:
            answer = await client.get("/users/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status
    published = {"app_env": "production", "secret_key": SecretStr(DEVELOPMENT_SECRET)}
    assert any("SECRET_KEY" in why for why in settings.model_copy(update=published).unsafe_for_production())


async def test_000_line_295_limits_are_tuned_without_touching_code(settings: Settings, ann: None) -> None:
    variables = {
        "POLICIES__USERS_ME__RATE_LIMIT__USER__MAX_TOKENS": "2",
        "POLICIES__USERS_ME__RATE_LIMIT__USER__REFILL_RATE": "0.001",
    }
    login = settings.login.model_copy(update={"per_account": 2})
    app = create_app(settings.model_copy(update={"policy_variables": variables, "login": login}))
    async with running(app), client_of(app) as client:
        token = (await sign_in(client, ANN["password"])).json()["access_token"]
        header = {"Authorization": f"Bearer {token}"}
        statuses = [(await client.get("/users/me", headers=header)).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        guesses = [(await sign_in(client, f"guess number {number}")).status_code for number in range(3)]
        assert guesses == [401, 401, 429]
