"""Over HTTP, through the real gate, on real servers."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.builtin.accounts.models import AuthSession, RefreshToken, User
from app.builtin.accounts.router import router
from app.builtin.accounts.service import Lifetimes, Revocation, Sessions, SignIn, create_user
from app.builtin.accounts.service.provide_guard import sign_in_guard
from app.core.db import Database
from app.core.http import Platform, TokenVerifier
from app.core.policies import EpochBook
from app.core.security import PasswordHasher, TokenKey, TokenService
from app.main import create_app
from app.registry import Feature
from app.settings import LoginSettings, Settings
from tests.apps import running

PASSWORD = "correct horse battery staple"
EMAIL = "Ann@Example.com"
SECRET = "a-secret-of-these-tests-with-over-32-bytes"
ATTEMPTS = 5

pytestmark = pytest.mark.usefixtures("clean_database", "clean_store")


@pytest.fixture(scope="module")
async def accounts_app(settings: Settings, hasher: PasswordHasher) -> AsyncIterator[FastAPI]:
    login: Any = LoginSettings(account_window_s=31_000_000)

    def provide(platform: Platform, _: Any) -> Mapping[type[Any], Any]:
        tokens = TokenService(
            [TokenKey.from_secret(SECRET)], issuer="tests", audience="tests", clock=platform.clock
        )
        revocation = Revocation(EpochBook(platform.store, grace_s=300), platform.clock)
        sessions = Sessions(tokens=tokens, revocation=revocation, lifetimes=Lifetimes(), clock=platform.clock)
        guard = sign_in_guard(platform, login, SECRET)
        sign_in = SignIn(sessions=sessions, passwords=hasher, guard=guard)
        return {TokenVerifier: tokens, SignIn: sign_in, Sessions: sessions}

    models = (User, AuthSession, RefreshToken)
    feature = Feature(name="accounts", router=router, models=models, provides=provide)
    async with running(create_app(settings, registry=[feature])) as app:
        yield app


@pytest.fixture
async def http(accounts_app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=accounts_app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
async def ann(database: Database, hasher: PasswordHasher) -> User:
    async with database.session() as session:
        user = await create_user(
            session, hasher, EMAIL, PASSWORD, roles=["db_reader"], scopes=["read:records", "write:records"]
        )
        await session.commit()
        return user


async def sign_in(
    http: httpx2.AsyncClient, username: str = EMAIL, password: str = PASSWORD, **form: str
) -> httpx2.Response:
    return await http.post("/auth/token", data={"username": username, "password": password, **form})


async def bearer(http: httpx2.AsyncClient, **form: str) -> dict[str, str]:
    answer = await sign_in(http, **form)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


class TestCreateToken:
    async def test_a_good_password_gives_a_token_that_lives_15_minutes_and_is_not_stored(
        self, http: httpx2.AsyncClient, ann: User
    ) -> None:
        answer = await sign_in(http)
        assert answer.status_code == 200
        body = answer.json()
        assert body.keys() == {
            "access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in", "scope",
        }  # fmt: skip
        assert (body["token_type"], body["expires_in"]) == ("bearer", 900)
        assert body["refresh_expires_in"] == 604_800
        assert body["scope"] == "read:records write:records"
        assert answer.headers["cache-control"] == "no-store"

    async def test_the_scope_of_the_answer_is_what_was_asked_for_and_is_owned(
        self, http: httpx2.AsyncClient, ann: User
    ) -> None:
        answer = await sign_in(http, scope="read:records run:cpu_job", grant_type="password")
        assert answer.json()["scope"] == "read:records"

    @pytest.mark.parametrize("scope", ["run:cpu_job", "NOT A SCOPE", "é"])
    async def test_no_scope_that_could_be_granted_is_a_400(
        self, http: httpx2.AsyncClient, ann: User, scope: str
    ) -> None:
        answer = await sign_in(http, scope=scope)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["error"] == "invalid_scope"

    async def test_wrong_password_unknown_user_and_inactive_user_get_the_same_answer(
        self, http: httpx2.AsyncClient, ann: User, database: Database
    ) -> None:
        wrong = await sign_in(http, password="wrong password")
        unknown = await sign_in(http, username="nobody@example.com")
        async with database.session() as session:
            await session.execute(text("UPDATE users SET is_active = false"))
            await session.commit()
        inactive = await sign_in(http)
        answers = [
            (one.status_code, _comparable_headers(one), _comparable_body(one))
            for one in (wrong, unknown, inactive)
        ]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][0] == 401
        assert wrong.headers["www-authenticate"] == "Bearer"
        assert wrong.headers["content-type"] == "application/problem+json"

    async def test_attempts_on_one_account_are_limited_whatever_its_spelling_and_the_password(
        self, http: httpx2.AsyncClient, ann: User
    ) -> None:
        spellings = [EMAIL, EMAIL.lower(), EMAIL.upper(), f" {EMAIL}", EMAIL.title()]
        for spelling in spellings[:ATTEMPTS]:
            assert (await sign_in(http, spelling, "wrong password")).status_code == 401
        refused = await sign_in(http)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert (await sign_in(http, "nobody@example.com")).status_code == 401

    async def test_an_unknown_account_is_limited_just_the_same(self, http: httpx2.AsyncClient) -> None:
        statuses = [(await sign_in(http, "nobody@example.com")).status_code for _ in range(ATTEMPTS + 1)]
        assert statuses == [401] * ATTEMPTS + [429]

    async def test_attempts_from_one_address_are_limited_across_accounts(
        self, http: httpx2.AsyncClient
    ) -> None:
        statuses = [(await sign_in(http, f"user-{n}@example.com")).status_code for n in range(41)]
        assert statuses[:20] == [401] * 20
        assert 429 in statuses[20:]

    @pytest.mark.parametrize(
        "form",
        [
            {},
            {"username": EMAIL},
            {"password": PASSWORD},
            {"username": EMAIL, "password": "x" * 129},
            {"username": "x" * 255, "password": PASSWORD},
            {"username": "a\0b", "password": PASSWORD},
            {"username": EMAIL, "password": PASSWORD, "grant_type": "refresh_token"},
            {"username": EMAIL, "password": PASSWORD, "otp": "123456"},
            {"username": EMAIL, "password": ""},
        ],
    )
    async def test_a_form_out_of_range_is_a_422_that_repeats_no_password(
        self, http: httpx2.AsyncClient, ann: User, form: dict[str, str]
    ) -> None:
        answer = await http.post("/auth/token", data=form)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert PASSWORD not in answer.text
        assert "x" * 20 not in answer.text

    @pytest.mark.parametrize("password", ["a\0b", "🔑" * 128, "%ED%A0%80", "' OR 1=1 --"])
    async def test_a_password_of_odd_characters_is_merely_wrong(
        self, http: httpx2.AsyncClient, ann: User, password: str
    ) -> None:
        assert (await sign_in(http, password=password)).status_code == 401

    @pytest.mark.parametrize(
        "body", [b"username=%ff%fe&password=%ff", b"username=%ED%A0%80&password=x", b"%", b"\xff\xfe"]
    )
    async def test_a_form_that_is_no_utf_8_is_refused_as_the_client_s_fault(
        self, http: httpx2.AsyncClient, ann: User, body: bytes
    ) -> None:
        answer = await http.post(
            "/auth/token", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert answer.status_code in {400, 401, 422}

    async def test_json_instead_of_a_form_is_refused(self, http: httpx2.AsyncClient, ann: User) -> None:
        answer = await http.post("/auth/token", json={"username": EMAIL, "password": PASSWORD})
        assert answer.status_code in {415, 422}

    async def test_a_hash_of_an_older_strength_is_replaced_at_the_next_sign_in(
        self, http: httpx2.AsyncClient, database: Database, ann: User, hasher: PasswordHasher
    ) -> None:
        weaker = PasswordHasher(memory_kib=32, time_cost=1, parallelism=1).hash(PASSWORD)
        async with database.session() as session:
            await session.execute(text("UPDATE users SET password_hash = :weaker"), {"weaker": weaker})
            await session.commit()
        assert (await sign_in(http)).status_code == 200
        async with database.session() as session:
            kept = await session.scalar(text("SELECT password_hash FROM users"))
        assert kept != weaker
        assert hasher.verify(PASSWORD, str(kept))


class TestKnownDevice:
    async def test_a_browser_that_signed_in_before_is_let_in_where_its_network_is_not(
        self, http: httpx2.AsyncClient, ann: User
    ) -> None:
        cookie = (await sign_in(http)).headers["set-cookie"]
        pair, *attributes = cookie.split("; ")
        assert pair.startswith("__Host-device=")
        assert {one.lower() for one in attributes} == {
            "httponly", "max-age=7776000", "path=/", "samesite=strict", "secure",
        }  # fmt: skip
        wrong = [(await sign_in(http, password="wrong password")).status_code for _ in range(ATTEMPTS + 1)]
        assert wrong == [401] * ATTEMPTS + [429]
        http.headers["Cookie"] = pair
        assert (await sign_in(http)).status_code == 200
        wrong = [(await sign_in(http, password="wrong password")).status_code for _ in range(ATTEMPTS + 1)]
        assert wrong == [401] * ATTEMPTS + [429]

    async def test_the_cookie_proves_nothing(self, http: httpx2.AsyncClient, ann: User) -> None:
        pair = (await sign_in(http)).headers["set-cookie"].partition(";")[0]
        token = pair.partition("=")[2]
        for headers in ({"Cookie": pair}, {"Authorization": f"Bearer {token}"}):
            assert (await http.get("/users/me", headers=headers)).status_code == 401
        refreshed = await http.post("/auth/refresh", data={"refresh_token": token})
        assert refreshed.status_code == 401

    async def test_a_cookie_of_any_other_text_is_passed_over(
        self, http: httpx2.AsyncClient, ann: User
    ) -> None:
        tokens = (b"", b"\xff\xfe", b"....", b"1.a.9999999999.b.c", b";;=\t;,", b"x" * 5000)
        for cookie in (b"=;;=\t;,", *(b"__Host-device=" + token for token in tokens)):
            answer = await http.post(
                "/auth/token", data={"username": EMAIL, "password": PASSWORD}, headers=[(b"Cookie", cookie)]
            )
            assert answer.status_code == 200, cookie[:30]

    async def test_whoever_is_not_signed_in_gets_none(self, http: httpx2.AsyncClient, ann: User) -> None:
        for answer in (await sign_in(http, password="wrong password"), await sign_in(http, scope="run:x")):
            assert answer.status_code in {400, 401}
            assert "set-cookie" not in answer.headers

    async def test_on_a_developer_s_own_machine_it_does_without_tls(
        self, http: httpx2.AsyncClient, ann: User
    ) -> None:
        for host in ("localhost", "127.0.0.1:8000", "[::1]"):
            http.headers["Host"] = host
            cookie = (await sign_in(http)).headers["set-cookie"]
            assert cookie.startswith("device=")
            assert "secure" not in cookie.lower()


class TestReadMe:
    async def test_the_caller_sees_himself_and_what_the_token_allows(
        self, http: httpx2.AsyncClient, ann: User
    ) -> None:
        answer = await http.get("/users/me", headers=await bearer(http, scope="read:records"))
        assert answer.status_code == 200
        assert answer.json() == {
            "id": str(ann.id),
            "email": EMAIL,
            "email_verified": False,
            "roles": ["db_reader"],
            "scopes": ["read:records"],
        }

    async def test_without_a_token_it_is_a_401_with_a_bare_challenge(self, http: httpx2.AsyncClient) -> None:
        answer = await http.get("/users/me")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "null"])
    async def test_a_bad_token_is_a_401(self, http: httpx2.AsyncClient, token: str) -> None:
        answer = await http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize("change", ["DELETE FROM users", "UPDATE users SET is_active = false"])
    async def test_the_token_of_a_user_who_is_gone_or_inactive_is_a_401(
        self, http: httpx2.AsyncClient, database: Database, ann: User, change: str
    ) -> None:
        headers = await bearer(http)
        async with database.session() as session:
            await session.execute(text(change))
            await session.commit()
        answer = await http.get("/users/me", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def _comparable_headers(answer: httpx2.Response) -> dict[str, str]:
    """All headers but those that tell requests apart or count down."""
    varying = {"x-request-id", "ratelimit", "date"}
    return {name: value for name, value in answer.headers.items() if name not in varying}


def _comparable_body(answer: httpx2.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    del body["request_id"]
    return body
