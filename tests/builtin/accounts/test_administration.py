"""Administration over HTTP, on the whole service: who may, what is answered, and that it counts at once."""

from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.builtin.accounts.models import User
from app.core.db import Database, get_db_context
from app.core.security import TokenService, known_roles, known_scopes, scopes_of

pytestmark = pytest.mark.usefixtures("clean_database", "clean_store")
PASSWORD = "correct horse battery staple"
NEW: dict[str, Any] = {
    "email": "Bob@Example.com",
    "password": PASSWORD,
    "roles": ["db_reader"],
    "scopes": ["write:records"],
}


@pytest.fixture
async def ann(database: Database) -> User:
    async with get_db_context(database) as db:
        ann = User(email="ann@example.com", password_hash="!", roles=["admin"], scopes=[])
        db.add(ann)
    return ann


class Caller:
    """Somebody with a token of these rights; everything if none are named."""

    def __init__(self, app: FastAPI, client: httpx2.AsyncClient, user: UUID, **rights: Any) -> None:
        rights = {"scopes": known_scopes, "roles": known_roles, **rights}
        token = app.state.gatehouse.require(TokenService).issue(str(user), **rights).token
        self._client = client
        self._header = {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return await self._client.request(method, path, headers=self._header, **options)

    async def status(self, method: str, path: str, **options: Any) -> int:
        return (await self.ask(method, path, **options)).status_code


@pytest.fixture
def admin(app: FastAPI, client: httpx2.AsyncClient, ann: User) -> Caller:
    return Caller(app, client, ann.id)


async def test_a_user_is_made_found_changed_and_deleted_and_all_of_it_is_recorded(
    app: FastAPI, client: httpx2.AsyncClient, ann: User, admin: Caller
) -> None:
    made = await admin.ask("POST", "/users", json=NEW)
    assert made.status_code == 201, made.text
    bob = made.json()
    path = made.headers["location"]
    assert path == f"/users/{bob['id']}"
    assert {name: bob[name] for name in ("email", "is_active", "roles", "scopes", "all_scopes")} == {
        "email": "Bob@Example.com", "is_active": True, "roles": ["db_reader"], "scopes": ["write:records"],
        "all_scopes": ["read:records", "write:records"],
    }  # fmt: skip
    assert PASSWORD not in made.text
    assert (await admin.ask("GET", path)).json() == bob
    found = (await admin.ask("GET", "/users?role=db_reader&is_active=true&email=BOB@example.com")).json()
    assert found == {"items": [bob], "next_cursor": None}
    assert await admin.status("POST", "/users", json=NEW) == 409

    signed_in = await client.post("/auth/token", data={"username": NEW["email"], "password": PASSWORD})
    assert signed_in.json()["scope"] == "read:records write:records"
    header = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    assert (await client.get("/users/me", headers=header)).status_code == 200
    given = await admin.ask("PUT", f"{path}/roles/io_user")
    assert (given.status_code, given.json()["roles"]) == (200, ["db_reader", "io_user"])
    ended = await client.get("/users/me", headers=header)
    assert (ended.status_code, ended.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    refreshed = await client.post("/auth/refresh", data={"refresh_token": signed_in.json()["refresh_token"]})
    header = {"Authorization": f"Bearer {refreshed.json()['access_token']}"}
    assert (await client.get("/users/me", headers=header)).json()["roles"] == ["db_reader", "io_user"]

    assert await admin.status("DELETE", f"{path}/roles/io_user") == 204
    assert await admin.status("DELETE", f"{path}/roles/io_user") == 204
    assert (await admin.ask("PUT", f"{path}/scopes/read:credits")).json()["scopes"] == [
        "read:credits", "write:records",
    ]  # fmt: skip
    assert await admin.status("DELETE", f"{path}/scopes/read:credits") == 204
    assert await admin.status("POST", f"{path}/sign-out") == 204
    disabled = await admin.ask("PATCH", path, json={"is_active": False})
    assert (disabled.status_code, disabled.json()["is_active"]) == (200, False)
    assert (await admin.ask("PATCH", path, json={"is_active": True})).json()["is_active"]
    assert await admin.status("DELETE", path) == 204
    assert [await admin.status(method, path) for method in ("GET", "DELETE")] == [404, 404]
    assert (await client.get("/users/me", headers=header)).status_code == 401

    log = (await admin.ask("GET", f"/audit?subject={bob['id']}&actor={ann.id}")).json()["items"]
    assert [event["event"] for event in reversed(log)] == [
        "user.created", "rights.granted", "rights.revoked", "rights.granted", "rights.revoked", "user.signed_out", "user.disabled",
        "user.enabled", "user.deleted",
    ]  # fmt: skip
    assert log[-1]["request_id"] == made.headers["x-request-id"]
    assert {event["actor_kind"] for event in log} == {"user"}


async def test_who_is_no_administrator_is_refused_and_an_administrator_gives_what_he_has(
    app: FastAPI, client: httpx2.AsyncClient, ann: User
) -> None:
    nobody = Caller(app, client, uuid4(), roles=["db_reader"])
    narrowed = Caller(app, client, uuid4(), scopes=["read:records"])
    for method, path in (("GET", "/users"), ("GET", "/audit"), ("DELETE", f"/users/{ann.id}")):
        assert [await each.status(method, path) for each in (nobody, narrowed)] == [403, 403]

    boss = Caller(app, client, uuid4(), roles=["admin"], scopes=scopes_of(["admin"]))
    refused = await boss.ask("PUT", f"/users/{ann.id}/roles/db_reader")
    assert (refused.status_code, refused.json()["missing_rights"]) == (403, ["db_reader", "read:records"])
    assert await boss.status("POST", "/users", json=NEW) == 403
    assert await boss.status("POST", "/users", json={**NEW, "roles": ["admin"], "scopes": []}) == 201


async def test_what_makes_no_sense_is_refused_with_a_problem(admin: Caller, ann: User) -> None:
    path = f"/users/{ann.id}"
    refused: dict[int, list[tuple[str, str, Any]]] = {
        409: [("PATCH", path, {"is_active": False}), ("DELETE", path, None), ("DELETE", f"{path}/roles/admin", None)],
        404: [("GET", "/users/7", None), ("GET", "/users/ann@example.com", None), ("POST", "/users/me/sign-out", None)],
        405: [("DELETE", "/users/me", None), ("PATCH", "/users", {}), ("POST", "/audit", None)],
        422: [
            ("PUT", f"{path}/roles/emperor", None), ("PUT", f"{path}/roles/NO", None), ("PUT", f"{path}/scopes/read:*", None),
            ("DELETE", f"{path}/roles/%00", None), ("PATCH", path, {"is_active": "no"}), ("PATCH", path, {}),
            ("PATCH", path, {"is_active": True, "password_hash": "x"}), ("POST", "/users", {**NEW, "email": "nobody"}),
            ("POST", "/users", {**NEW, "password": "short"}), ("POST", "/users", {**NEW, "roles": ["emperor"]}),
            ("POST", "/users", {**NEW, "is_active": True}), ("GET", "/users?limit=101", None), ("GET", "/users?role=%00", None),
            ("GET", "/users?email=%00", None), ("GET", "/users?surprise=1", None), ("GET", "/users?cursor=x", None),
            ("GET", "/audit?limit=0", None), ("GET", "/audit?event=%00", None), ("GET", "/audit?since=0001-01-01T00:00:00%2B14:00", None),
            ("GET", "/audit?until=2026-01-01T00:00:00", None), ("GET", "/audit?since=9999-12-31T23:59:59-14:00", None),
        ],
    }  # fmt: skip
    for status, requests in refused.items():
        for method, where, body in requests:
            answer = await admin.ask(method, where, json=body)
            assert answer.status_code == status, (method, where, body, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert PASSWORD not in answer.text


async def test_an_address_that_breaks_a_rule_or_an_unknown_user_leaves_nothing_behind(
    admin: Caller, database: Database
) -> None:
    for path in ("roles/admin", "scopes/read:records"):
        assert await admin.status("PUT", f"/users/{uuid4()}/{path}") == 404
    assert await admin.status("POST", "/users", json={**NEW, "email": "x@"}) == 422
    async with get_db_context(database) as db:
        counts = text("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM audit_events)")
        assert tuple((await db.execute(counts)).one()) == (1, 0)
