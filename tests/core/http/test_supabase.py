"""Tokens of a Supabase project over HTTP: the whole way through gates, with a key endpoint that answers, fails and recovers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import Depends

from app.builtin.accounts.service import provide_accounts
from app.core import APIRouter, CurrentPrincipal, JobConfig, Security, api_worker, enforce_all_policies
from app.core.context import Principal
from app.core.http import require_scope
from app.core.security import SupabaseTokens, TokenService
from app.features.records.router import router as records_router
from app.registry import Feature
from app.settings import Settings
from tests.core.security.supabase import ANOTHER, ELLIPTIC, SECRET, USER, jwk, key_set, token
from tests.credited import CREDITS
from tests.gated import Service, serving
from tests.leaks import LeakGuard
from tests.upstream import Upstream, reply, serving_upstream

ACCOUNTS = Feature(name="accounts", provides=provide_accounts)
READ = JobConfig(security=Security(scopes=("read:records",), roles=("db_reader",)))
PUBLIC = JobConfig.public()
PUBLISHED = reply(key_set(jwk(ELLIPTIC, "first")))

pytestmark = pytest.mark.usefixtures("clean_store")


def routes() -> APIRouter:
    router = APIRouter()

    @router.get("/mine", dependencies=[enforce_all_policies("mine", READ)])
    @api_worker(READ)
    async def read(caller: CurrentPrincipal) -> str:
        return caller.id

    @router.post("/mine", dependencies=[enforce_all_policies("write", READ)])
    @api_worker(READ)
    async def write(caller: CurrentPrincipal) -> str:
        return caller.id

    @router.get("/public", dependencies=[enforce_all_policies("public", PUBLIC)])
    @api_worker(PUBLIC)
    async def public() -> str:
        return "served"

    @router.get("/by-hand")
    async def by_hand(caller: Annotated[Principal, Depends(require_scope("read:records"))]) -> str:
        return caller.id

    return router


class Project:
    """A service that accepts tokens of a project, and the project's endpoint."""

    def __init__(self, service: Service, upstream: Upstream) -> None:
        self.service, self.upstream = service, upstream
        self.issuer = f"http://127.0.0.1:{upstream.port}/auth/v1"

    def token(self, **changes: Any) -> str:
        return token(self.issuer, **{"now": time.time(), **changes})

    async def get(self, path: str = "/mine", text: str | None = None, **changes: Any) -> httpx2.Response:
        shown = text if text is not None else self.token(**changes)
        return await self.service.client.get(path, headers={"Authorization": f"Bearer {shown}"})


@contextlib.asynccontextmanager
async def started(make_settings: Callable[..., Settings], **changes: Any) -> AsyncIterator[Project]:
    example = Feature(name="example", router=routes(), open_routes={"/by-hand": "guarded by hand"})
    records = Feature(name="records", router=records_router)
    async with serving_upstream() as upstream:
        upstream.always(PUBLISHED)
        settings = make_settings(supabase_url=f"http://127.0.0.1:{upstream.port}", **changes)
        async with serving(settings, ACCOUNTS, CREDITS, example, records, tokens=None) as service:
            yield Project(service, upstream)


@pytest.fixture
async def project(make_settings: Callable[..., Settings]) -> AsyncIterator[Project]:
    async with started(make_settings) as project:
        yield project


async def test_a_user_of_the_project_is_served_as_himself(project: Project) -> None:
    answers = [await project.get(), await project.get("/by-hand")]
    answers.append(
        await project.service.client.post("/mine", headers={"Authorization": f"Bearer {project.token()}"})
    )
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, str(USER))] * 3
    assert len(project.upstream.requests) == 1


async def test_rights_that_only_the_user_claims_are_403(project: Project) -> None:
    wishes = {"roles": ["db_reader"], "scopes": ["read:records"]}
    no_scope = await project.get(app_metadata={"roles": ["db_reader"]}, user_metadata=wishes)
    no_role = await project.get(app_metadata={"scopes": ["read:records"]}, user_metadata=wishes)
    by_hand = await project.get("/by-hand", app_metadata={}, user_metadata=wishes, role="service_role")
    assert [answer.status_code for answer in (no_scope, no_role, by_hand)] == [403, 403, 403]
    assert 'scope="read:records"' in no_scope.headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/mine", "/by-hand", "/public"])
async def test_a_token_that_proves_nothing_is_401_with_the_challenge(project: Project, path: str) -> None:
    forged = [
        project.token(key=ANOTHER),
        project.token(role="anon"),
        project.token(aud="anon"),
        project.token(iss="https://evil.supabase.co/auth/v1"),
        project.token(alg="HS256", key=SECRET.encode()),
        project.token(kid="unknown"),
        project.token(kid=None),
        project.token(exp=int(time.time()) - 1, iat=int(time.time()) - 60),
    ]
    for text in forged:
        answer = await project.get(path, text)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert answer.headers["content-type"] == "application/problem+json"
    assert len(project.upstream.requests) == 1


async def test_a_storm_of_unknown_key_ids_asks_the_project_once_and_is_charged(
    make_settings: Callable[..., Settings],
) -> None:
    async with started(make_settings, login={"failed_auth_per_ip": 20}) as project:
        answers = await asyncio.gather(*(project.get(kid=f"made-up-{n}") for n in range(30)))
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(401), statuses.count(429)) == (20, 10)
        assert len(project.upstream.requests) == 1


class TestOutage:
    @pytest.mark.parametrize(
        "answer", [b"", reply(status=502), reply({"keys": None})], ids=["broken", "502", "malformed"]
    )
    async def test_is_503_and_charged_to_nobody_until_the_project_answers_again(
        self, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, answer: bytes
    ) -> None:
        monkeypatch.setattr("app.core.security._remote_keys.RETRY_S", 0.0)
        async with started(make_settings, login={"failed_auth_per_ip": 2}) as project:
            project.upstream.always(answer)
            for path in ("/mine", "/by-hand", "/public") * 3:
                refused = await project.get(path)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.headers["content-type"] == "application/problem+json"
                assert "www-authenticate" not in refused.headers
            project.upstream.always(PUBLISHED)
            for path in ("/mine", "/by-hand", "/public"):
                assert (await project.get(path)).status_code == 200

    async def test_is_counted_as_unavailable(self, project: Project) -> None:
        project.upstream.always(b"")
        await project.get()
        metrics = (await project.service.client.get("/metrics")).text
        assert 'gatehouse_token_key_fetches_total{outcome="failed"} 1.0' in metrics
        assert 'policy="mine",shadow="false",verdict="unavailable"} 1.0' in metrics

    async def test_does_not_touch_our_own_tokens_nor_anonymous_callers(self, project: Project) -> None:
        project.upstream.always(b"")
        assert (await project.get()).status_code == 503
        own = project.service.platform.require(TokenService)
        user = str(uuid4())
        ours = own.issue(user, scopes=["read:records"], roles=["db_reader"]).token
        assert (await project.get(text=ours)).json() == user
        assert (await project.service.client.get("/public")).status_code == 200

    async def test_known_keys_serve_on(self, project: Project) -> None:
        assert (await project.get()).status_code == 200
        project.upstream.always(b"")
        assert (await project.get(jti="another")).status_code == 200


async def test_a_legacy_project_signs_with_its_secret(
    make_settings: Callable[..., Settings], leak_guard: LeakGuard
) -> None:
    leak_guard.watch(SECRET)
    async with started(make_settings, supabase_jwt_secret=SECRET) as project:
        good = project.token(alg="HS256", key=SECRET.encode())
        leak_guard.watch(good)
        assert (await project.get(text=good)).json() == str(USER)
        assert (await project.get(alg="HS256", key=b"x" * 40)).status_code == 401
        assert project.upstream.requests == []


@pytest.mark.usefixtures("clean_database")
async def test_a_table_that_belongs_to_our_users_takes_none_of_the_project(project: Project) -> None:
    granted = {"scopes": ["read:records", "write:records"], "roles": ["db_reader"]}
    rights = {"Authorization": f"Bearer {project.token(app_metadata=granted)}"}
    client = project.service.client
    made = await client.post(
        "/records", json={"name": "mine"}, headers={**rights, "Idempotency-Key": "first-record"}
    )
    assert (made.status_code, made.json()["detail"]) == (401, "This account no longer exists")
    assert (await client.get("/records", headers=rights)).json()["items"] == []


async def test_the_end_of_the_application_ends_a_fetch_that_hangs_and_closes_the_client(
    make_settings: Callable[..., Settings],
) -> None:
    async with started(make_settings) as project:
        project.upstream.always(None)
        asked = asyncio.create_task(project.get())
        while not project.upstream.requests:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)
        tokens = project.service.platform.require(TokenService)
        (other,) = tokens._others.values()
        assert isinstance(other, SupabaseTokens)
    assert (await asked).status_code == 503
    assert other._endpoint._client.is_closed


async def test_without_a_project_its_tokens_are_401_and_nobody_is_asked(settings: Settings) -> None:
    async with serving_upstream() as upstream:
        example = Feature(name="example", router=routes(), open_routes={"/by-hand": "guarded by hand"})
        async with serving(settings, ACCOUNTS, example, tokens=None) as service:
            answer = await Project(service, upstream).get()
        assert answer.status_code == 401
        assert upstream.requests == []
