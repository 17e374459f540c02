"""Document 000: the guide to the database utilities."""

# ruff: noqa: B008 - Depends(...) as a default, as the documents write it

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest
from fastapi import Depends
from prometheus_client import REGISTRY, Histogram
from pyrate_limiter import Duration, Limiter, Rate
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core import APIRouter, JobConfig, RateLimit, RateLimiter, api_worker, enforce_all_policies
from app.core.context import Principal
from app.core.db import AsyncSession, Database, get_db, get_db_url
from app.core.http import (
    LimitBlock,
    debounce,
    fixed_window,
    require_credits,
    require_scope,
    sliding_window,
    throttle,
    token_bucket,
)
from app.core.observability import log_sink
from app.core.valkey import get_or_set_cache, get_or_set_many
from app.main import create_app
from app.registry import Feature
from app.settings import Settings
from tests.apps import running
from tests.credited import CREDITS, give
from tests.gated import bearer, serving
from tests.requirements.conftest import Serve
from tests.requirements.shop import Item

OPEN = {"/secure-data": "guarded by hand", "/other-data": "guarded by hand"}


async def test_000_01_a_scope_is_required_by_a_dependency_that_hands_out_the_user(serve: Serve) -> None:
    router = APIRouter()

    @router.get("/secure-data")
    async def secure_data(user: Annotated[Principal, Depends(require_scope("read:data"))]) -> str:
        return user.id

    reader, stranger = uuid4(), uuid4()
    async with serve(router, open_routes=OPEN) as service:
        granted = await service.client.get("/secure-data", headers=bearer(reader, scopes=["read:data"]))
        refused = await service.client.get("/secure-data", headers=bearer(stranger, scopes=["read:other"]))
        unknown = await service.client.get("/secure-data")
    assert (granted.status_code, granted.json()) == (200, str(reader))
    assert (refused.status_code, refused.json()["missing_scopes"]) == (403, ["read:data"])
    assert (unknown.status_code, unknown.headers["www-authenticate"]) == (401, "Bearer")


async def test_000_02_a_histogram_of_the_users_own_is_exposed_beside_ours(serve: Serve, app: Any) -> None:
    latency = Histogram("api_latency_seconds", "API call latency", ["endpoint"])
    try:
        with latency.labels(endpoint="/secure-data").time():
            await asyncio.sleep(0)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            shown = (await client.get("/metrics")).text
    finally:
        REGISTRY.unregister(latency)
    assert 'api_latency_seconds_count{endpoint="/secure-data"} 1.0' in shown
    assert shown.count("# TYPE api_latency_seconds histogram") == 1


async def test_000_03_a_cached_profile_is_made_once_for_each_caller(serve: Serve, cached: None) -> None:
    router, made = APIRouter(), list[str]()

    @router.get("/user/{user_id}")
    @get_or_set_cache(key_fn=lambda user_id: f"user:{user_id}", ttl=60)
    async def get_user_profile(
        user_id: str, user: Any = Depends(require_scope("read:user"))
    ) -> dict[str, str]:
        made.append(user_id)
        return {"id": user_id, "seen_by": user.id}

    ann, bob = uuid4(), uuid4()
    async with serve(router, open_routes={"/user/{user_id}": "guarded by hand"}) as service:
        answers = [
            await service.client.get(f"/user/{user_id}", headers=bearer(caller, scopes=["read:user"]))
            for caller, user_id in ((ann, "7"), (ann, "7"), (ann, "8"), (bob, "7"))
        ]
        refused = await service.client.get("/user/7", headers=bearer(ann))
        unknown = await service.client.get("/user/7")
    assert [answer.json()["seen_by"] for answer in answers] == [str(ann), str(ann), str(ann), str(bob)]
    assert made == ["7", "8", "7"]
    assert (refused.status_code, unknown.status_code) == (403, 401)


async def test_000_04_the_url_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str, valkey_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    monkeypatch.setenv("VALKEY_URL", valkey_url)
    async with running(create_app(Settings(_env_file=None, app_env="test"))):
        url = get_db_url()
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_000_11_the_url_is_one_that_sqlalchemy_takes_whatever_dialect_it_was_written_in(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str, valkey_url: str
) -> None:
    monkeypatch.setenv("ADMIN_DATABASE_URL", postgres_url.replace("postgresql+asyncpg", "postgres"))
    monkeypatch.setenv("REDIS_URL", valkey_url)
    async with running(create_app(Settings(_env_file=None, app_env="test"))):
        engine = create_async_engine(get_db_url())
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await engine.dispose()


async def test_000_line_19_per_route_limits_in_the_packages_own_style(serve: Serve) -> None:
    router = APIRouter()

    def limited() -> Any:
        return [Depends(RateLimiter(limiter=Limiter(Rate(2, Duration.DAY))))]

    @router.get("/secure-data", dependencies=limited())
    async def secure_data() -> str:
        return "served"

    @router.get("/other-data", dependencies=limited())
    async def other_data() -> str:
        return "served"

    async with serve(router, open_routes=OPEN) as service:
        statuses = [(await service.client.get("/secure-data")).status_code for _ in range(3)]
        other = await service.client.get("/other-data")
    assert statuses == [200, 200, 429]
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("limit", "passing"),
    [
        (RateLimit.sliding_window(limit=3, window=86_400), 3),
        (RateLimit.token_bucket(max_tokens=3, refill_rate=0.0001), 3),
        (RateLimit.fixed_window(limit=3, window=31_000_000), 3),
        (RateLimit.debounce(interval=3600), 1),
        (RateLimit.throttle(rate=1, per=3600), 1),
    ],
    ids=lambda value: getattr(value, "algorithm", ""),
)
async def test_000_line_20_every_algorithm_lets_exactly_its_quota_pass(
    serve: Serve, limit: RateLimit, passing: int
) -> None:
    router, config = APIRouter(), JobConfig(rate_limit=limit)

    @router.get("/limited", dependencies=[enforce_all_policies("limited", config)])
    @api_worker(config)
    async def limited() -> str:
        return "served"

    headers = bearer(uuid4())
    async with serve(router) as service:
        answers = await asyncio.gather(*(service.client.get("/limited", headers=headers) for _ in range(30)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (passing, 30 - passing)


@pytest.mark.parametrize(
    ("block", "passing"),
    [
        (sliding_window(limit=3, window=86_400), 3),
        (token_bucket(max_tokens=3, refill_rate=0.0001), 3),
        (fixed_window(limit=3, window=31_000_000), 3),
        (debounce(interval=3600), 1),
        (throttle(rate=1, per=3600), 1),
    ],
    ids=["sliding_window", "token_bucket", "fixed_window", "debounce", "throttle"],
)
async def test_000_line_20_every_algorithm_guards_a_handler_by_itself(
    serve: Serve, block: LimitBlock, passing: int
) -> None:
    router = APIRouter()

    @router.get("/secure-data")
    @block
    async def secure_data(user: Any = Depends(require_scope("read:data"))) -> str:
        return str(user.id)

    headers = bearer(uuid4(), scopes=["read:data"])
    async with serve(router, open_routes=OPEN) as service:
        answers = await asyncio.gather(
            *(service.client.get("/secure-data", headers=headers) for _ in range(30))
        )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (passing, 30 - passing)


async def test_000_line_24_any_result_is_cached_and_many_are_warmed_by_one_call(cached: None) -> None:
    asked: list[object] = []

    async def external_result() -> dict[str, int]:
        asked.append("one")
        return {"answer": 42}

    async def load(keys: Any) -> dict[Any, int]:
        asked.append(list(keys))
        return {key: len(key) for key in keys}

    for _ in range(2):
        assert await get_or_set_cache("external:7", external_result, expire=300) == {"answer": 42}
        assert await get_or_set_many(["a", "bb", "ccc"], load, expire=300) == [1, 2, 3]
    assert await get_or_set_many(["bb", "dddd"], load, expire=300) == [2, 4]
    assert asked == ["one", ["a", "bb", "ccc"], ["dddd"]]


async def test_000_line_28_credits_that_are_spent_are_402_and_those_in_use_429(
    settings: Settings, clean_store: None, clean_database: None, database: Database
) -> None:
    router, started, go_on = APIRouter(), asyncio.Event(), asyncio.Event()

    @router.get("/secure-data")
    @require_credits(amount=10)
    async def secure_data(user: Any = Depends(require_scope("read:data"))) -> str:
        started.set()
        await go_on.wait()
        return str(user.id)

    user = uuid4()
    await give(database, str(user), 15)
    headers = bearer(user, scopes=["read:data"])
    feature = Feature(name="example", router=router, open_routes={"/secure-data": "guarded by hand"})
    async with serving(settings, CREDITS, feature) as service:
        first = asyncio.create_task(service.client.get("/secure-data", headers=headers))
        await started.wait()
        meanwhile = await service.client.get("/secure-data", headers=headers)
        go_on.set()
        done = await first
        afterwards = await service.client.get("/secure-data", headers=headers)
    assert (meanwhile.status_code, meanwhile.json()["reason"]) == (429, "credits_held")
    assert (done.status_code, afterwards.status_code) == (200, 402)
    assert (afterwards.json()["required"], afterwards.json()["available"]) == (10, 5)


async def test_000_line_54_guessing_a_password_ends_after_a_few_attempts(
    make_settings: Callable[..., Settings], clean_store: None
) -> None:
    settings = make_settings(login={"per_account": 3, "account_window_s": 31_000_000})
    form = {"username": "victim@example.com", "password": "a guess"}
    async with running(create_app(settings)) as app:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            statuses = [(await client.post("/auth/token", data=form)).status_code for _ in range(4)]
            other = await client.post("/auth/token", data={**form, "username": "other@example.com"})
    assert statuses == [401, 401, 401, 429]
    assert other.status_code == 401


async def test_000_line_61_an_endpoint_logs_a_structured_event_and_is_counted(
    settings: Settings, clean_store: None
) -> None:
    lines: list[bytes] = []
    with log_sink.tapped(lines.append):
        async with running(create_app(settings)) as app:
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
                answer = await client.get("/users/me")
                shown = (await client.get("/metrics")).text
    events = [json.loads(line) for line in b"\n".join(lines).splitlines()]
    (event,) = [event for event in events if event.get("request_id") == answer.headers["x-request-id"]]
    assert (event["route"], event["status"], event["policy"]) == ("/users/me", 401, "users_me")
    assert (
        'gatehouse_policy_decisions_total{policy="users_me",shadow="false",verdict="unauthenticated"}'
        in shown
    )


async def test_000_line_173_the_pool_is_tuned_by_environment_variables(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str, valkey_url: str
) -> None:
    for name, value in {"DB_POOL_SIZE": "3", "DB_MAX_OVERFLOW": "1", "DATABASE_URL": postgres_url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VALKEY_URL", valkey_url)
    app = create_app(Settings(_env_file=None, app_env="test"))
    status = app.state.gatehouse.database.pool_status()
    assert (status.size, status.limit) == (3, 4)


async def test_000_line_266_there_are_probes_for_liveness_and_readiness(client: httpx2.AsyncClient) -> None:
    live, ready = await client.get("/live"), await client.get("/ready")
    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_000_line_267_readiness_asks_the_database_and_the_store(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(valkey_url="valkey://127.0.0.1:1/0")
    async with running(create_app(settings)) as app:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            ready = await client.get("/ready")
    assert (ready.status_code, ready.json()["failing"]) == (503, ["valkey"])


async def test_000_line_296_a_begin_block_is_one_transaction(
    serve: Serve, shop: Any, database: Database
) -> None:
    router, config = APIRouter(), JobConfig.public()

    @router.post("/items", dependencies=[enforce_all_policies("items", config)])
    @api_worker(config)
    async def add(session: Annotated[AsyncSession, Depends(get_db)], fail: bool) -> str:
        async with session.begin():
            session.add(Item(name="paper"))
            await session.flush()
            if fail:
                raise ZeroDivisionError
        return "added"

    async def count() -> int:
        async with database.session() as session:
            return await session.scalar(select(func.count()).select_from(Item)) or 0

    async with serve(router) as service:
        before = await count()
        assert (await service.client.post("/items?fail=true")).status_code == 500
        assert await count() == before
        assert (await service.client.post("/items?fail=false")).status_code == 200
    assert await count() == before + 1
