"""Sessions over HTTP, on the whole service: what callers get, and what a token is worth once its session has ended."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import text

from app.builtin.accounts.models import User
from app.builtin.accounts.service import EndReason, Revocation, create_user
from app.core import APIRouter, require_scope
from app.core.db import Database, get_db_context
from app.core.security import PasswordHasher
from app.core.valkey import ValkeyClient
from app.main import create_app
from app.registry import FEATURES, Feature
from app.settings import Settings
from tests.apps import client_of, running
from tests.credited import give

PASSWORD = "correct horse battery staple"
EMAIL = "Ann@Example.com"
pytestmark = pytest.mark.usefixtures("clean_database", "clean_store")


@pytest.fixture(scope="module")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """One for all tests here: what it keeps of users and sessions goes by ids that nobody else has."""
    async with running(create_app(settings)) as app:
        yield app


@pytest.fixture
async def ann(database: Database, hasher: PasswordHasher) -> User:
    rights = {"roles": ["db_reader"], "scopes": ["read:records", "write:records"]}
    async with get_db_context(database) as db:
        return await create_user(db, hasher, EMAIL, PASSWORD, **rights)


class Session:
    """What a client has of a session."""

    def __init__(self, client: httpx2.AsyncClient, answer: httpx2.Response) -> None:
        assert answer.status_code == 200, answer.text
        self.client = client
        self.body = answer.json()
        self.header = {"Authorization": f"Bearer {self.body['access_token']}"}
        self.token: str = self.body["refresh_token"]

    @classmethod
    async def begin(cls, client: httpx2.AsyncClient, **form: str) -> "Session":
        form = {"username": EMAIL, "password": PASSWORD, **form}
        return cls(client, await client.post("/auth/token", data=form))

    async def refreshed(self, **form: str) -> "Session":
        return Session(self.client, await refresh(self.client, self.token, **form))

    async def ask(self, method: str = "GET", path: str = "/users/me") -> int:
        return (await self.client.request(method, path, headers=self.header)).status_code

    async def listed(self, query: str = "") -> dict[str, Any]:
        answer = await self.client.get(f"/auth/sessions{query}", headers=self.header)
        assert answer.status_code == 200
        page: dict[str, Any] = answer.json()
        return page


async def refresh(client: httpx2.AsyncClient, token: str, **form: str) -> httpx2.Response:
    return await client.post("/auth/refresh", data={"refresh_token": token, **form})


async def assert_no_grant(answer: httpx2.Response) -> None:
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"] == "invalid_grant"


class TestRefresh:
    async def test_it_answers_as_a_sign_in_does_with_the_next_token(
        self, client: httpx2.AsyncClient, ann: User
    ) -> None:
        first = await Session.begin(client)
        answer = await refresh(client, first.token, grant_type="refresh_token")
        second = Session(client, answer)
        assert second.body.keys() == first.body.keys()
        assert (second.body["expires_in"], second.body["refresh_expires_in"]) == (900, 604_800)
        assert answer.headers["cache-control"] == "no-store"
        assert second.token != first.token
        assert [await session.ask() for session in (first, second)] == [200, 200]

    async def test_a_refresh_token_is_no_access_token_and_the_reverse(
        self, client: httpx2.AsyncClient, ann: User
    ) -> None:
        session = await Session.begin(client)
        bearer = {"Authorization": f"Bearer {session.token}"}
        answer = await client.get("/users/me", headers=bearer)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (
            401, 'Bearer error="invalid_token"',
        )  # fmt: skip
        await assert_no_grant(await refresh(client, session.body["access_token"]))

    async def test_twenty_at_once_get_one_successor(self, client: httpx2.AsyncClient, ann: User) -> None:
        session = await Session.begin(client)
        answers = await asyncio.gather(*(refresh(client, session.token) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["refresh_token"] for answer in answers}) == 1

    async def test_a_used_token_ends_the_family_and_its_access_tokens(
        self, client: httpx2.AsyncClient, ann: User, database: Database
    ) -> None:
        first, other = await Session.begin(client), await Session.begin(client)
        second = await first.refreshed()
        async with get_db_context(database) as db:
            await db.execute(
                text("UPDATE refresh_tokens SET used_at = used_at - interval '21 s' WHERE generation = 0")
            )
        await assert_no_grant(await refresh(client, first.token))
        await assert_no_grant(await refresh(client, second.token))
        assert [await session.ask() for session in (first, second, other)] == [401, 401, 200]

    @pytest.mark.parametrize("over", ["expires_at = now()", "used_at = now() - interval '7 d'"])
    async def test_a_session_whose_time_is_over_is_not_refreshed(
        self, client: httpx2.AsyncClient, ann: User, database: Database, over: str
    ) -> None:
        session = await Session.begin(client)
        async with get_db_context(database) as db:
            await db.execute(text(f"UPDATE auth_sessions SET {over}"))
        await assert_no_grant(await refresh(client, session.token))
        assert (await session.listed())["items"] == []

    async def test_a_disabled_user_is_not_refreshed_and_his_session_ends(
        self, client: httpx2.AsyncClient, ann: User, database: Database
    ) -> None:
        session = await Session.begin(client)
        async with get_db_context(database) as db:
            await db.execute(text("UPDATE users SET is_active = false"))
        await assert_no_grant(await refresh(client, session.token))
        async with get_db_context(database) as db:
            reasons = (await db.scalars(text("SELECT end_reason FROM auth_sessions"))).all()
        assert reasons == ["inactive"]

    async def test_scopes_are_narrowed_and_never_widened(self, client: httpx2.AsyncClient, ann: User) -> None:
        session = await Session.begin(client, scope="read:records")
        answer = await refresh(client, session.token, scope="write:records")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
        assert (await session.refreshed()).body["scope"] == "read:records"

    async def test_it_carries_the_rights_of_now(
        self, client: httpx2.AsyncClient, ann: User, database: Database
    ) -> None:
        session = await Session.begin(client)
        async with get_db_context(database) as db:
            await db.execute(text("UPDATE users SET roles = '{admin}', scopes = '{read:records}'"))
        after = await session.refreshed()
        answer = await client.get("/users/me", headers=after.header)
        assert (answer.json()["roles"], answer.json()["scopes"]) == (["admin"], ["read:records"])

    @pytest.mark.parametrize(
        "form",
        [
            {},
            {"refresh_token": ""},
            {"refresh_token": "x" * 8193},
            {"refresh_token": "rt_" + "A" * 43, "grant_type": "password"},
            {"refresh_token": "rt_" + "A" * 43, "scope": "x" * 2049},
            {"refresh_token": "rt_" + "A" * 43, "surprise": "1"},
        ],
    )
    async def test_a_form_of_the_wrong_shape_is_422_that_repeats_no_token(
        self, client: httpx2.AsyncClient, form: dict[str, str]
    ) -> None:
        answer = await client.post("/auth/refresh", data=form)
        assert answer.status_code == 422
        assert "x" * 20 not in answer.text
        assert "AAAA" not in answer.text

    @pytest.mark.parametrize("token", ["x", "\0", "🔑" * 128, "' OR 1=1 --", "%ED%A0%80", "rt_" + "A" * 43])
    async def test_any_other_text_is_no_grant(self, client: httpx2.AsyncClient, token: str) -> None:
        await assert_no_grant(await refresh(client, token))

    async def test_it_is_limited_by_address(self, client: httpx2.AsyncClient) -> None:
        answers = [(await refresh(client, "rt_" + "A" * 43)).status_code for _ in range(241)]
        assert answers[:120] == [401] * 120
        assert answers.count(429) >= 1

    async def test_the_database_is_asked_about_a_token_only_by_its_hash(
        self, client: httpx2.AsyncClient, ann: User, database: Database
    ) -> None:
        session = await Session.begin(client)
        after = await session.refreshed()
        async with get_db_context(database) as db:
            rows = [
                str(row)
                for table in ("users", "auth_sessions", "refresh_tokens")
                for row in await db.scalars(text(f"SELECT to_jsonb(t) FROM {table} t"))
            ]
        for secret in (session.token, after.token, session.body["access_token"], after.body["access_token"]):
            assert not any(secret in row for row in rows)


class TestLogout:
    async def test_the_session_is_over_with_the_next_request_and_others_are_not(
        self, client: httpx2.AsyncClient, ann: User
    ) -> None:
        one, other = await Session.begin(client), await Session.begin(client)
        assert await one.ask() == 200
        assert await one.ask("POST", "/auth/logout") == 204
        answer = await client.get("/users/me", headers=one.header)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (
            401, 'Bearer error="invalid_token"',
        )  # fmt: skip
        await assert_no_grant(await refresh(client, one.token))
        assert await other.ask() == 200
        assert await one.ask("POST", "/auth/logout") == 401

    async def test_everywhere_ends_all_and_a_new_sign_in_is_good(
        self, client: httpx2.AsyncClient, ann: User
    ) -> None:
        some = [await Session.begin(client) for _ in range(3)]
        some.append(await some[0].refreshed())
        assert await some[0].ask("POST", "/auth/logout?everywhere=true") == 204
        assert [await session.ask() for session in some] == [401] * 4
        for session in some:
            await assert_no_grant(await refresh(client, session.token))
        assert await (await Session.begin(client)).ask() == 200

    async def test_a_token_of_no_session_here_is_404_and_everywhere_ends_it(
        self, client: httpx2.AsyncClient, ann: User, app: FastAPI
    ) -> None:
        tokens = app.state.gatehouse.tokens
        strange = {"Authorization": f"Bearer {tokens.issue(str(ann.id)).token}"}
        answer = await client.post("/auth/logout", headers=strange)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert (await client.post("/auth/logout?everywhere=1", headers=strange)).status_code == 204
        assert (await client.get("/users/me", headers=strange)).status_code == 401

    @pytest.mark.parametrize("query", ["everywhere=perhaps", "everywhere=", "everywhere=2", "surprise=1"])
    async def test_a_query_that_makes_no_sense_is_422_and_ends_nothing(
        self, client: httpx2.AsyncClient, ann: User, query: str
    ) -> None:
        session = await Session.begin(client)
        assert await session.ask("POST", f"/auth/logout?{query}") == 422
        assert await session.ask() == 200

    async def test_a_store_that_was_emptied_does_not_bring_the_token_back(
        self, client: httpx2.AsyncClient, ann: User, store: ValkeyClient
    ) -> None:
        one, other = await Session.begin(client), await Session.begin(client)
        await one.ask("POST", "/auth/logout")
        await store.execute("FLUSHDB")
        assert [await one.ask(), await other.ask()] == [401, 200]
        await other.ask("POST", "/auth/logout?everywhere=true")
        await store.execute("FLUSHDB")
        assert [await one.ask(), await other.ask()] == [401, 401]


class TestRevokedToken:
    async def test_gets_no_replay_and_no_kept_answer(
        self, client: httpx2.AsyncClient, ann: User, database: Database
    ) -> None:
        await give(database, str(ann.id), 1_000_000_000)
        session = await Session.begin(client)
        key = {"Idempotency-Key": uuid4().hex}
        create: dict[str, Any] = {"json": {"name": "first"}, "headers": {**session.header, **key}}
        record = (await client.post("/records", **create)).json()["id"]
        replay = await client.post("/records", **create)
        assert (replay.status_code, replay.headers["idempotent-replayed"]) == (201, "true")
        path = f"/records/{record}"
        assert (await client.get(path, headers=session.header)).status_code == 200
        hit = await client.get(path, headers=session.header)
        assert "hit" in hit.headers["cache-status"]
        assert await session.ask("POST", "/auth/logout") == 204
        refused = [await client.post("/records", **create), await client.get(path, headers=session.header)]
        assert [answer.status_code for answer in refused] == [401, 401]
        assert all("first" not in answer.text for answer in refused)
        again = await Session.begin(client)
        assert "hit" in (await client.get(path, headers=again.header)).headers["cache-status"]


class TestSessions:
    async def test_the_caller_sees_his_own_newest_first_without_secrets(
        self, client: httpx2.AsyncClient, ann: User, database: Database, hasher: PasswordHasher
    ) -> None:
        async with get_db_context(database) as db:
            await create_user(db, hasher, "bob@example.com", PASSWORD)
        await Session.begin(client, username="bob@example.com")
        one = await Session.begin(client, scope="read:records")
        other = await Session.begin(client)
        page = await one.listed()
        assert [item["is_current"] for item in page["items"]] == [False, True]
        assert page["items"][1].keys() == {
            "id", "is_current", "authenticated_at", "used_at", "expires_at", "methods", "scopes",
        }  # fmt: skip
        assert (page["items"][1]["methods"], page["items"][1]["scopes"]) == (["pwd"], ["read:records"])
        assert page["next_cursor"] is None
        for secret in (one.token, other.token, one.body["access_token"]):
            assert secret not in json.dumps(page)

    async def test_pages_go_on_where_the_one_before_ended(
        self, client: httpx2.AsyncClient, ann: User
    ) -> None:
        sessions = [await Session.begin(client) for _ in range(5)]
        ids, sizes, cursor = list[str](), list[int](), ""
        while cursor != "&cursor=None":
            page = await sessions[0].listed(f"?limit=2{cursor}")
            ids += [item["id"] for item in page["items"]]
            sizes.append(len(page["items"]))
            cursor = f"&cursor={page['next_cursor']}"
        assert sizes == [2, 2, 1]
        assert ids == sorted(set(ids), reverse=True)

    async def test_one_of_them_can_be_ended(self, client: httpx2.AsyncClient, ann: User) -> None:
        one, other = await Session.begin(client), await Session.begin(client)
        (lost,) = [item["id"] for item in (await one.listed())["items"] if not item["is_current"]]
        assert await other.ask() == 200
        assert await one.ask("DELETE", f"/auth/sessions/{lost}") == 204
        assert [await one.ask(), await other.ask()] == [200, 401]
        await assert_no_grant(await refresh(client, other.token))
        assert [item["is_current"] for item in (await one.listed())["items"]] == [True]
        assert await one.ask("DELETE", f"/auth/sessions/{lost}") == 404

    async def test_those_of_others_are_404_and_stay(
        self, client: httpx2.AsyncClient, ann: User, database: Database, hasher: PasswordHasher
    ) -> None:
        async with get_db_context(database) as db:
            await create_user(db, hasher, "bob@example.com", PASSWORD)
        bob = await Session.begin(client, username="bob@example.com")
        session = await Session.begin(client)
        (of_bob,) = (await bob.listed())["items"]
        assert await session.ask("DELETE", f"/auth/sessions/{of_bob['id']}") == 404
        assert await session.ask("DELETE", f"/auth/sessions/{uuid4()}") == 404
        assert await session.ask("DELETE", "/auth/sessions/x") == 422
        assert await bob.ask() == 200
        assert bob.body.keys() == session.body.keys()

    @pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=x", "cursor=", "surprise=1"])
    async def test_a_query_that_makes_no_sense_is_422(
        self, client: httpx2.AsyncClient, ann: User, query: str
    ) -> None:
        assert await (await Session.begin(client)).ask("GET", f"/auth/sessions?{query}") == 422


class TestForOthers:
    @pytest.mark.parametrize("reason", ["password_changed", "inactive"])
    async def test_a_service_ends_all_sessions_of_a_user(
        self, client: httpx2.AsyncClient, app: FastAPI, ann: User, reason: EndReason
    ) -> None:
        session = await Session.begin(client)
        revocation: Revocation = app.state.gatehouse.require(Revocation)
        async with get_db_context() as db:
            assert await revocation.end_all_sessions(db, UUID(str(ann.id)), reason) == 1
        assert await session.ask() == 401
        await assert_no_grant(await refresh(client, session.token))


def test_the_description_names_what_is_answered(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    statuses = {
        f"{method} {path}": set(operation["responses"])
        for path, operations in paths.items()
        for method, operation in operations.items()
        if path.startswith("/auth/")
    }
    common = {"429", "503"}
    assert statuses["post /auth/refresh"] >= {"200", "400", "401", "422"} | common
    assert statuses["post /auth/logout"] >= {"204", "401", "404", "422"} | common
    assert statuses["get /auth/sessions"] >= {"200", "401", "422"} | common
    assert statuses["delete /auth/sessions/{session_id}"] >= {"204", "401", "404", "422"} | common


async def test_an_ended_token_is_refused_on_a_route_that_is_guarded_by_hand_too(
    settings: Settings, ann: User
) -> None:
    """The last one here: the routes serve the application that was started last."""
    router = APIRouter()

    @router.get("/by-hand", dependencies=[Depends(require_scope("read:records"))])
    async def by_hand() -> None:
        return None

    feature = Feature(name="by_hand", router=router, open_routes={"/by-hand": "guarded by hand"})
    async with (
        running(create_app(settings, registry=[*FEATURES, feature])) as app,
        client_of(app) as client,
    ):
        session, other = await Session.begin(client), await Session.begin(client)
        assert await session.ask(path="/by-hand") == 200
        assert await session.ask("POST", "/auth/logout") == 204
        refused = await client.get("/by-hand", headers=session.header)
        assert (refused.status_code, refused.json()["title"]) == (401, "Unauthorized")
        assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert await other.ask(path="/by-hand") == 200
