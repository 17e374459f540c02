"""API keys over HTTP, on the whole service: the same gate as for tokens, with limits, answers and refusals of their own."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import UUID

import httpx2
import pytest
from fastapi import Depends, FastAPI

from app.builtin.accounts.models import User
from app.builtin.accounts.service import AccountApiKeys, Revocation, create_user
from app.core import (
    APIRouter,
    Idempotency,
    JobConfig,
    RateLimit,
    ResponseCache,
    Security,
    api_worker,
    enforce_all_policies,
    require_scope,
)
from app.core.db import Database, get_db_context
from app.core.http import CurrentPrincipal
from app.core.security import ApiKeys, PasswordHasher, TokenService
from app.core.valkey import ValkeyClient
from app.main import create_app
from app.registry import FEATURES, Feature
from tests.apps import client_of, running
from tests.credited import balance_of, give

pytestmark = pytest.mark.usefixtures("clean_database", "clean_store")
SCOPES, ROLES = ["read:records", "write:records", "read:credits"], ["db_reader"]
READ = Security(scopes=("read:records",))
LIMITED = JobConfig(
    security=READ, rate_limit=RateLimit.fixed_window("key", limit=3, window=31_000_000, scope="api_key")
)
ONCE = JobConfig(security=READ, idempotency=Idempotency(required=True))
KEPT = JobConfig(security=READ, cache=ResponseCache(ttl=300))
PUBLIC = JobConfig.public()


def routes() -> APIRouter:
    router = APIRouter()
    served: list[str] = []

    @router.get("/limited", dependencies=[enforce_all_policies("t_limited", LIMITED)])
    @api_worker(LIMITED)
    async def limited() -> None:
        return None

    @router.post("/once", dependencies=[enforce_all_policies("t_once", ONCE)])
    @api_worker(ONCE)
    async def once(body: dict[str, Any]) -> dict[str, Any]:
        served.append("once")
        return {**body, "count": len(served)}

    @router.get("/kept", dependencies=[enforce_all_policies("t_kept", KEPT)])
    @api_worker(KEPT)
    async def kept() -> int:
        served.append("kept")
        return len(served)

    @router.get("/public", dependencies=[enforce_all_policies("t_public", PUBLIC)])
    @api_worker(PUBLIC)
    async def public() -> str:
        return "served"

    @router.get("/by-hand", dependencies=[Depends(require_scope("read:records"))])
    async def by_hand(caller: CurrentPrincipal) -> str | None:
        return caller.api_key_id

    return router


class Site(NamedTuple):
    """A running service, a client of it, and a user with a token."""

    app: FastAPI
    client: httpx2.AsyncClient
    user: User

    def token(self, scopes: list[str] = SCOPES, roles: list[str] = ROLES) -> dict[str, str]:
        tokens: TokenService = self.app.state.gatehouse.require(TokenService)
        return {
            "Authorization": f"Bearer {tokens.issue(str(self.user.id), scopes=scopes, roles=roles).token}"
        }

    async def create(self, **options: Any) -> dict[str, Any]:
        body = {"name": "a program", "scopes": ["read:records"], **options}
        answer = await self.client.post("/api-keys", json=body, headers=self.token())
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    async def get(self, path: str, key: str) -> httpx2.Response:
        return await self.client.get(path, headers=by(key))

    async def end_all(self) -> None:
        """As a changed password, or a sign-out everywhere."""
        revocation: Revocation = self.app.state.gatehouse.require(Revocation)
        async with get_db_context() as db:
            await revocation.end_all_sessions(db, self.user.id, "password_changed")


def by(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
async def service(make_settings: Any, database: Database) -> AsyncIterator[FastAPI]:
    settings = make_settings(login={"failed_auth_per_ip": 100_000})
    own = Feature(name="own", router=routes(), open_routes={"/by-hand": "guarded by hand"})
    async with running(create_app(settings, registry=[*FEATURES, own])) as app:
        yield app


@pytest.fixture
async def site(service: FastAPI, database: Database, hasher: PasswordHasher) -> AsyncIterator[Site]:
    async with get_db_context(database) as db:
        user = await create_user(
            db, hasher, "ann@example.com", "correct horse battery", roles=ROLES, scopes=SCOPES
        )
    await give(database, str(user.id), 1_000_000_000)
    async with client_of(service) as client:
        yield Site(service, client, user)


def assert_bad(answer: httpx2.Response) -> None:
    """Refused as any other bad key is."""
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json()["detail"] == "The API key is not valid."


async def test_the_life_of_a_key(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Made, listed, seen, used in both headers, rotated and deleted."""
    client, token = site.client, site.token()
    answer = await client.post("/api-keys", json={"name": "one", "scopes": ["read:records"]}, headers=token)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json()
    key, path = made["key"], f"/api-keys/{made['id']}"
    for header in (by(key), {"X-API-Key": key}, {"authorization": f"bearer  {key}"}):
        me = await client.get("/users/me", headers=header)
        assert me.status_code == 200
        assert (me.json()["id"], me.json()["scopes"], me.json()["roles"]) == (
            str(site.user.id),
            ["read:records"],
            [],
        )
    page = (await client.get("/api-keys", headers=token)).json()
    assert [item["id"] for item in page["items"]] == [made["id"]]
    assert (await client.get(path, headers=token)).json() == page["items"][0]
    assert key not in json.dumps(page)
    assert key.split("_")[-1] not in json.dumps(page)

    answer = await client.post(f"{path}/rotate", json={"overlap_s": 600}, headers=token)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    second = answer.json()["key"]
    assert [(await site.get("/users/me", each)).status_code for each in (key, second)] == [200, 200]
    third = (await client.post(f"{path}/rotate", json={"overlap_s": 0}, headers=token)).json()["key"]
    assert_bad(await site.get("/users/me", key))
    assert_bad(await site.get("/users/me", second))
    assert (await site.get("/users/me", third)).status_code == 200

    assert (await client.delete(path, headers=token)).status_code == 204
    for _ in range(2):
        assert_bad(await site.get("/users/me", third))
    for gone in (await client.get(path, headers=token), await client.delete(path, headers=token)):
        assert (gone.status_code, gone.headers["content-type"]) == (404, "application/problem+json")
    logged = capsys.readouterr()
    for text in (key, second, third):
        assert text not in logged.out + logged.err
        assert text[49:92] not in logged.out + logged.err


async def test_two_credentials_are_one_too_many(site: Site) -> None:
    key = (await site.create())["key"]
    for headers in (
        [("authorization", f"Bearer {key}"), ("x-api-key", key)],
        [*site.token().items(), ("x-api-key", key)],
        [("authorization", "Basic eDp5"), ("x-api-key", key)],
        [("x-api-key", key), ("x-api-key", key)],
        [("authorization", f"Bearer {key}"), ("authorization", f"Bearer {key}")],
    ):
        for path in ("/users/me", "/public", "/by-hand"):
            answer = await site.client.get(path, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_it_may_do_what_it_was_given_and_nothing_about_accounts(site: Site) -> None:
    key = by((await site.create(roles=["db_reader"]))["key"])
    assert (await site.client.get("/records", headers=key)).status_code == 200
    assert (await site.client.get("/by-hand", headers=key)).status_code == 200
    assert (await site.client.get("/public", headers=key)).status_code == 200
    refused = await site.client.post("/records", json={"name": "x"}, headers={**key, "Idempotency-Key": "k"})
    assert (refused.status_code, refused.json()["missing_scopes"]) == (403, ["write:records"])
    made = (await site.create())["id"]
    for method, path in (
        ("POST", "/api-keys"), ("GET", "/api-keys"), ("GET", f"/api-keys/{made}"), ("DELETE", f"/api-keys/{made}"),
        ("POST", f"/api-keys/{made}/rotate"), ("POST", "/auth/logout"), ("GET", "/auth/sessions"), ("DELETE", f"/auth/sessions/{made}"),
    ):  # fmt: skip
        answer = await site.client.request(method, path, headers=key)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
        assert "API key" in answer.json()["detail"]
    assert (await site.client.get("/api-keys", headers=site.token())).status_code == 200


async def test_limits_are_the_keys_own_and_survive_its_rotation(site: Site) -> None:
    one, other = [await site.create() for _ in range(2)]
    statuses = [(await site.get("/limited", one["key"])).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    rotated = await site.client.post(
        f"/api-keys/{one['id']}/rotate", json={"overlap_s": 0}, headers=site.token()
    )
    assert (await site.get("/limited", rotated.json()["key"])).status_code == 429
    assert (await site.get("/limited", other["key"])).status_code == 200
    assert (await site.client.get("/limited", headers=site.token())).status_code == 200


async def test_credits_are_its_owners(site: Site, database: Database) -> None:
    key = (await site.create(scopes=["write:records", "read:records"], roles=["db_reader"]))["key"]
    before = await balance_of(database, str(site.user.id))
    made = await site.client.post("/records", json={"name": "x"}, headers={**by(key), "Idempotency-Key": "k"})
    assert made.status_code == 201
    read = await site.get(f"/records/{made.json()['id']}", key)
    assert read.status_code == 200
    assert await balance_of(database, str(site.user.id)) < before


async def test_an_ended_key_gets_no_replay_and_no_kept_answer(site: Site) -> None:
    made, other = await site.create(), await site.create()
    once = {**by(made["key"]), "Idempotency-Key": "k1"}
    first = await site.client.post("/once", json={"a": 1}, headers=once)
    replay = await site.client.post("/once", json={"a": 1}, headers=once)
    assert (replay.json(), replay.headers["idempotent-replayed"]) == (first.json(), "true")
    another = await site.client.post("/once", json={"a": 1}, headers={**once, **by(other["key"])})
    assert "idempotent-replayed" not in another.headers
    await site.get("/kept", made["key"])
    assert "hit" in (await site.get("/kept", made["key"])).headers["cache-status"]
    await site.client.delete(f"/api-keys/{made['id']}", headers=site.token())
    assert_bad(await site.client.post("/once", json={"a": 1}, headers=once))
    assert_bad(await site.get("/kept", made["key"]))
    assert_bad(await site.get("/by-hand", made["key"]))
    assert_bad(await site.get("/public", made["key"]))


async def test_after_a_sign_out_everywhere_it_goes_on_with_body_and_all(site: Site) -> None:
    """Each process looks the key up again, in the very request that tells it to; the request's body is read once more."""
    made = await site.create()
    keys: ApiKeys = site.app.state.gatehouse.require(ApiKeys)
    once = {**by(made["key"]), "Idempotency-Key": "k1"}
    assert (await site.client.post("/once", json={"a": 1}, headers=once)).status_code == 200
    for number, path in enumerate(("/users/me", "/kept", "/by-hand", "/limited")):
        await site.end_all()
        answer = await site.get(path, made["key"])
        assert answer.status_code == 200, answer.text
        fields = [len(answer.headers.get_list(name)) for name in ("ratelimit", "ratelimit-policy")]
        assert fields == ([0, 0] if path == "/by-hand" else [1, 1])  # of the second look alone
        body = {"text": "x" * 10_000, "number": number}
        await site.end_all()
        headers = {**once, "Idempotency-Key": f"anew-{number}"}
        answer = await site.client.post("/once", json=body, headers=headers)
        assert (answer.status_code, answer.json().get("number")) == (200, number)
    assert [known.record.principal.api_key_id for known in keys._known.values()].count(made["id"]) == 1


async def test_rights_that_its_owner_lost_are_gone_with_the_next_request(
    site: Site, database: Database
) -> None:
    made = await site.create(scopes=["read:records", "read:credits"])
    assert [(await site.get(path, made["key"])).status_code for path in ("/limited", "/credits")] == [
        200,
        200,
    ]
    await database.fetch("UPDATE users SET scopes = '{read:credits}', roles = '{}'")
    await site.end_all()
    assert [(await site.get(path, made["key"])).status_code for path in ("/limited", "/credits")] == [
        403,
        200,
    ]
    await database.fetch("UPDATE users SET is_active = false")
    await site.end_all()
    assert_bad(await site.get("/credits", made["key"]))


async def test_what_the_store_says_has_ended_and_the_database_does_not_is_503(
    site: Site, store: ValkeyClient
) -> None:
    """Between the two writes of a change; whoever waits for the second is not told that his key is bad."""
    made = await site.create()
    assert (await site.get("/users/me", made["key"])).status_code == 200
    slot = f"{{u:{site.user.id}}}:v1:n"
    await store.execute("HSET", slot, "n", str(2**52))
    for path in ("/users/me", "/kept", "/by-hand"):
        answer = await site.get(path, made["key"])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), path
    await store.execute("DEL", slot)
    assert (await site.get("/users/me", made["key"])).status_code == 200


async def test_from_another_network_it_is_like_no_key(site: Site) -> None:
    made = await site.create(allowed_networks=["203.0.113.0/24", "2001:db8::/32"])
    assert_bad(await site.get("/users/me", made["key"]))
    for address, status in (
        ("203.0.113.9", 200),
        ("2001:db8::1", 200),
        ("::ffff:203.0.113.9", 200),
        ("203.0.114.1", 401),
    ):
        async with client_of(site.app, address) as client:
            answer = await client.get(
                "/users/me", headers={**by(made["key"]), "X-Forwarded-For": "203.0.113.1"}
            )
            assert answer.status_code == status, address


async def test_junk_is_401_everywhere_and_never_500(site: Site) -> None:
    good = (await site.create())["key"]
    junk = [
        b"sk_",
        b"sk_" + b"\xff" * 95,
        good[:-1].encode(),
        good.encode() + b"x",
        b"",
        b" ",
        b"sk_" + b"A" * 7000,
        good.lower().encode(),
    ]
    for text in junk:
        for header in ((b"x-api-key", text), (b"authorization", b"Bearer " + text)):
            answer = await site.client.get("/users/me", headers=[header])
            assert answer.status_code == 401, (text, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
    assert (await site.client.get("/public", headers={"X-API-Key": "x"})).status_code == 401


async def test_a_body_that_makes_no_sense_is_refused(site: Site) -> None:
    named = {"name": "n", "scopes": list[str]()}
    for body, status in (
        ({"name": "n", "scopes": ["write:credits"]}, 400),
        ({**named, "roles": ["admin"]}, 400),
        ({"name": "n"}, 422),
        ({**named, "expires_at": "2001-01-01T00:00:00Z"}, 422),
        ({**named, "expires_at": "9999-12-31T23:59:59.999999Z"}, 422),
        ({**named, "expires_at": "0001-01-01T00:00:00+23:59"}, 422),
        ({**named, "allowed_networks": ["::1/129"]}, 422),
        ({**named, "name": "\ud800"}, 422),
        ({**named, "scopes": ["\ud800"]}, 422),
    ):
        headers = {**site.token(), "Content-Type": "application/json"}
        answer = await site.client.post("/api-keys", content=json.dumps(body), headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
            body
        )
    assert (await site.client.get("/api-keys", headers=site.token())).json()["items"] == []


async def test_the_use_is_written_in_the_background(site: Site, database: Database) -> None:
    made = await site.create()
    await site.get("/users/me", made["key"])
    [(before,)] = await database.fetch("SELECT last_used_at FROM api_keys")
    assert before is None
    await site.app.state.gatehouse.require(AccountApiKeys).flush()
    [(after, key_id)] = await database.fetch("SELECT last_used_at, id FROM api_keys")
    assert after is not None
    assert UUID(made["id"]) == key_id


async def test_the_description_names_the_scheme_and_what_is_answered(site: Site) -> None:
    document = site.app.openapi()
    assert document["components"]["securitySchemes"]["api_key"]["name"] == "X-API-Key"
    paths = document["paths"]
    assert paths["/records"]["get"]["security"] == [
        {"token": ["read:records"]},
        {"api_key": ["read:records"]},
    ]
    assert paths["/public"]["get"]["security"] == [{}, {"token": []}, {"api_key": []}]
    create, rotate = paths["/api-keys"]["post"], paths["/api-keys/{key_id}/rotate"]["post"]
    assert create["security"] == [{"token": []}]
    assert create["responses"].keys() >= {"201", "400", "401", "403", "409", "422", "429", "503"}
    assert rotate["responses"].keys() >= {"200", "401", "403", "404", "409", "422", "429", "503"}
    assert create["x-policy"]["security"]["api_keys"] is False
