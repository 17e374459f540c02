"""Document 000: what it promises in prose about scopes and roles, caching, credits, quotas, errors and idempotency keys."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import uuid4

import httpx2
import pytest
import structlog
from fastapi import Depends, FastAPI
from sqlalchemy import select

from app.builtin.accounts import create_access_token, get_password_hash, verify_password
from app.builtin.accounts.service import AccountFunctions, Administration, SignInLimits, create_user
from app.core import APIRouter, CurrentPrincipal, JobConfig, api_worker, enforce_all_policies
from app.core.context import Principal
from app.core.db import Database, get_db_context
from app.core.errors import Conflict, PolicyRejected
from app.core.http import Platform, require_scope, roles_required
from app.core.observability import log_sink, record_db_latency
from app.core.policies import CREDIT, CostRequest, Credits, Idempotency, Quota, set_cost
from app.core.security import PasswordHasher
from app.core.valkey import Cache, ValkeyClient, configure_cache, get_or_set_cache
from app.registry import Feature
from app.settings import Settings
from tests.credited import CREDITS, balance_of, give
from tests.gated import TOKENS, bearer, serving
from tests.requirements.conftest import Serve
from tests.servers import PrivateServer

STRATEGIES = (
    "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "noeviction",
)  # fmt: skip


async def test_000_line_8_scopes_and_roles_are_asked_for_by_dependencies_that_compose(serve: Serve) -> None:
    router = APIRouter()

    @router.get("/report", dependencies=[Depends(roles_required(["db_reader", "admin"]))])
    async def report(
        user: Annotated[Principal, Depends(require_scope("read:data", "read:more"))],
    ) -> str:
        return user.id

    rights: tuple[tuple[int, list[str], list[str]], ...] = (
        (200, ["read:data", "read:more"], ["db_reader"]),
        (200, ["read:data", "read:more", "x"], ["admin", "io_user"]),
        (403, ["read:data"], ["db_reader"]),
        (403, ["read:data", "read:more"], ["io_user"]),
        (403, [], []),
    )
    async with serve(router, open_routes={"/report": "guarded by hand"}) as service:

        async def status(header: dict[str, str]) -> int:
            return (await service.client.get("/report", headers=header)).status_code

        for wildcard in ({"roles": ["*"]}, {"scopes": ["read:*"]}):
            with pytest.raises(ValueError, match="cannot carry"):
                bearer(uuid4(), **wildcard)
        for expected, scopes, roles in rights:
            assert await status(bearer(uuid4(), scopes=scopes, roles=roles)) == expected
        assert await status({}) == 401


async def test_000_line_8_a_role_brings_its_scopes_and_its_loss_counts_with_the_next_request(
    client: httpx2.AsyncClient, app: FastAPI, clean_database: None, clean_store: None, database: Database
) -> None:
    async with get_db_context(database) as db:
        hasher = PasswordHasher(memory_kib=64, time_cost=1, parallelism=1)
        user = await create_user(db, hasher, "ann@example.com", "correct horse battery", roles=["db_reader"])
    signed_in = await client.post(
        "/auth/token", data={"username": "ann@example.com", "password": "correct horse battery"}
    )
    header = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    assert (await client.get("/records", headers=header)).status_code == 200
    async with get_db_context(database) as db:
        desk = app.state.gatehouse.require(Administration)
        await desk.take(db, user.id, roles=["db_reader"], by=None)
    assert (await client.get("/records", headers=header)).status_code == 401
    refreshed = await client.post("/auth/refresh", data={"refresh_token": signed_in.json()["refresh_token"]})
    assert refreshed.json()["scope"] == ""
    header = {"Authorization": f"Bearer {refreshed.json()['access_token']}"}
    assert (await client.get("/records", headers=header)).status_code == 403


async def test_000_line_24_a_stale_value_serves_while_no_new_one_can_be_had(cached: None) -> None:
    outcomes = ["first"]

    async def source() -> str:
        if outcomes:
            return outcomes.pop()
        failed.append(True)
        raise ConnectionError("the source is away")

    failed: list[bool] = []
    while not failed:  # for the tenth of a second that the value is fresh
        assert await get_or_set_cache("external:7", source, expire=0.1, stale=600) == "first"
    assert await get_or_set_cache("external:7", source, expire=0.1, stale=600) == "first"


@pytest.fixture(params=STRATEGIES)
async def crowded(request: pytest.FixtureRequest, private_valkey: PrivateServer) -> AsyncIterator[None]:
    """The process's default cache on a server that is full before all values are in, with one way to make room."""
    store = ValkeyClient(private_valkey.url, timeout_s=2.0)
    memory = (await store.execute("INFO", "memory")).decode()
    used = int(memory.partition("used_memory:")[2].partition("\r\n")[0])
    await store.execute("CONFIG", "SET", "maxmemory-policy", request.param)
    await store.execute("CONFIG", "SET", "maxmemory", used + 200_000)
    cache = Cache(store)
    configure_cache(cache)
    yield
    configure_cache(None)
    await cache.close()
    await store.close()


async def test_000_line_24_a_full_cache_gives_right_values_under_every_eviction_strategy(
    crowded: None,
) -> None:
    async def read(number: int) -> str:
        async def make() -> str:
            return f"{number} " + "x" * 4_000

        return await get_or_set_cache(f"value:{number}", make, expire=300)

    for _ in range(2):
        values = [await read(number) for number in range(150)]
        assert [value.partition(" ")[0] for value in values] == [str(number) for number in range(150)]


async def test_000_line_28_credits_are_estimated_and_what_was_used_is_deducted(
    settings: Settings, clean_store: None, clean_database: None, database: Database
) -> None:
    def estimate(request: CostRequest) -> int:
        return int(request.query["rows"][0])

    router, config = APIRouter(), JobConfig(credits=Credits(cost=estimate))

    @router.get("/report", dependencies=[enforce_all_policies("report", config)])
    @api_worker(config)
    async def report(rows: int) -> int:
        set_cost(rows // 2)
        return rows

    user = uuid4()
    await give(database, str(user), 20)
    async with serving(settings, CREDITS, Feature(name="example", router=router)) as service:
        done = await service.client.get("/report?rows=12", headers=bearer(user))
        beyond = await service.client.get("/report?rows=15", headers=bearer(user))
    assert (done.status_code, beyond.status_code) == (200, 402)
    assert (beyond.json()["required"], beyond.json()["available"]) == (15, 14)
    assert await balance_of(database, str(user)) == 14 * CREDIT


async def test_000_line_28_a_quota_that_is_used_up_is_429_until_its_period_ends(serve: Serve) -> None:
    router, config = APIRouter(), JobConfig(quota=Quota(per="month", limit=2))

    @router.get("/report", dependencies=[enforce_all_policies("report", config)])
    @api_worker(config)
    async def report() -> str:
        return "served"

    ann, bob = bearer(uuid4()), bearer(uuid4())
    async with serve(router) as service:
        answers = [await service.client.get("/report", headers=ann) for _ in range(3)]
        other = await service.client.get("/report", headers=bob)
    assert [answer.status_code for answer in (*answers, other)] == [200, 200, 429, 200]
    assert answers[2].json()["violated-policies"] == ["month"]
    assert int(answers[2].headers["retry-after"]) >= 1


async def test_000_line_37_calls_errors_and_latencies_are_counted_as_the_config_says(
    serve: Serve, database: Database
) -> None:
    router = APIRouter()

    def add(name: str, config: JobConfig) -> None:
        @router.get(f"/{name}", dependencies=[enforce_all_policies(name, config)])
        @api_worker(config)
        async def read(fail: bool) -> str:
            async with record_db_latency(f"line_37.{name}"), database.connect() as connection:
                await connection.execute(select(1))
            if fail:
                raise ZeroDivisionError
            return name

    add("counted", JobConfig.public())
    add("quiet", JobConfig.public(metrics=False))
    async with serve(router) as service:
        for path in ("/counted?fail=0", "/counted?fail=0", "/counted?fail=1", "/quiet?fail=0"):
            await service.client.get(path)
        shown = (await service.client.get("/metrics")).text
    assert 'api_errors_total{endpoint="counted",outcome="error"} 1.0' in shown
    assert 'db_latency_seconds_count{operation="line_37.counted"} 3.0' in shown
    assert 'api_latency_seconds_count{endpoint="counted"} 3.0' in shown
    assert 'endpoint="quiet"' not in shown


async def test_000_line_59_an_error_of_ones_own_is_logged_and_raised_and_answered_as_a_problem(
    serve: Serve,
) -> None:
    class OutOfStock(Conflict):
        def __init__(self, item: str) -> None:
            super().__init__(f"There is no {item} left")

    router, config, lines = APIRouter(), JobConfig(), list[bytes]()
    log = structlog.get_logger(__name__)

    @router.post("/orders", dependencies=[enforce_all_policies("orders", config)])
    @api_worker(config)
    async def order() -> None:
        log.warning("shop.out_of_stock", item="ink")
        raise OutOfStock("ink")

    with log_sink.tapped(lines.append):
        async with serve(router) as service:
            answer = await service.client.post("/orders", headers=bearer(uuid4()))
    assert (answer.status_code, answer.json()["detail"]) == (409, "There is no ink left")
    assert answer.headers["content-type"] == "application/problem+json"
    logged = [json.loads(line) for line in b"\n".join(lines).splitlines()]
    (event,) = [event for event in logged if event["event"] == "shop.out_of_stock"]
    assert (event["item"], event["request_id"]) == ("ink", answer.headers["x-request-id"])


async def test_000_line_60_a_repeated_idempotency_key_is_answered_from_valkey_and_done_once(
    serve: Serve, store: ValkeyClient
) -> None:
    router, config, orders = APIRouter(), JobConfig(idempotency=Idempotency()), list[str]()

    @router.post("/orders", status_code=201, dependencies=[enforce_all_policies("orders", config)])
    @api_worker(config)
    async def order(item: dict[str, str], caller: CurrentPrincipal) -> dict[str, Any]:
        orders.append(item["name"])
        return {"number": len(orders), "by": caller.id}

    ann, bob = uuid4(), uuid4()
    key = {"Idempotency-Key": "order-7"}
    async with serve(router) as service:

        async def post(user: Any, name: str) -> Any:
            return await service.client.post("/orders", json={"name": name}, headers=bearer(user) | key)

        first = await post(ann, "pen")
        kept = [name async for name in names(store) if ":v1:i:orders:" in name]
        again = await asyncio.gather(*(post(ann, "pen") for _ in range(5)))
        other, stranger = await post(ann, "ink"), await post(bob, "pen")
    assert len(kept) == 1
    assert {(answer.status_code, answer.content) for answer in (first, *again)} == {(201, first.content)}
    assert {answer.headers["idempotent-replayed"] for answer in again} == {"true"}
    assert (other.status_code, other.json()["policy"]) == (422, "orders")
    assert (stranger.status_code, stranger.json()) == (201, {"number": 2, "by": str(bob)})
    assert orders == ["pen", "pen"]


async def names(store: ValkeyClient) -> AsyncIterator[str]:
    """Every key of the store."""
    for name in await store.execute("KEYS", "*"):
        yield name.decode()


def with_functions(platform: Platform, _: Any) -> dict[type[Any], Any]:
    """What the functions of document 000 work with, as ``builtin/accounts`` provides it, with a weak hash."""
    hasher = PasswordHasher(memory_kib=64, time_cost=1, parallelism=1)
    platform.on_stop.append(hasher.close)
    limits = SignInLimits(window_s=31_000, per_account=3)
    return {AccountFunctions: AccountFunctions(platform.admitter, hasher, TOKENS, limits, secret=b"of tests")}


async def test_000_line_290_what_is_stored_of_a_password_is_a_salted_hash(serve: Serve) -> None:
    router, config = APIRouter(), JobConfig.public()

    @router.post("/hashes", dependencies=[enforce_all_policies("hashes", config)])
    @api_worker(config)
    async def make(password: str) -> str:
        return await get_password_hash(password)

    async with serve(router, provides=with_functions) as service:
        first, second = [
            (await service.client.post("/hashes?password=correct-horse")).json() for _ in range(2)
        ]
        common = await service.client.post("/hashes?password=password1")
    assert first != second
    assert first.startswith("$argon2id$")
    assert second.startswith("$argon2id$")
    assert "correct-horse" not in first
    assert (common.status_code, common.json()["reason"]) == (422, "common")


async def test_000_line_291_verifying_a_password_limits_attempts_by_itself(
    serve: Serve, clean_store: None
) -> None:
    router, config, stored = APIRouter(), JobConfig.public(), "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$YWJj"

    @router.post("/verify", dependencies=[enforce_all_policies("verify", config)])
    @api_worker(config)
    async def verify(password: str) -> bool:
        return await verify_password(password, stored, subject="ann")

    async with serve(router, provides=with_functions) as service:
        answers = [await service.client.post("/verify?password=a-guess") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429]
    assert [answer.json() for answer in answers[:3]] == [False] * 3
    assert answers[3].json()["violated-policies"] == ["account"]


async def test_000_line_292_issuing_tokens_is_limited_too(serve: Serve, clean_store: None) -> None:
    router, config = APIRouter(), JobConfig.public()

    @router.post("/tokens", dependencies=[enforce_all_policies("tokens", config)])
    @api_worker(config)
    async def issue(count: int) -> str:
        token = ""
        for _ in range(count):
            token = await create_access_token({"sub": "ann", "roles": ["admin"]})
        return token

    async with serve(router, provides=with_functions) as service:
        token = (await service.client.post("/tokens?count=1")).json()
        refused = await service.client.post("/tokens?count=70")
    assert TOKENS.verify(token).roles == {"admin"}
    assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["subject"])


async def test_000_line_293_the_error_of_a_rate_limit_becomes_a_429_or_is_handled(
    serve: Serve, clean_store: None
) -> None:
    router, config = APIRouter(), JobConfig.public()

    @router.post("/verify", dependencies=[enforce_all_policies("verify", config)])
    @api_worker(config)
    async def verify(subject: str, handle: bool) -> str:
        try:
            return str(await verify_password("a guess", None, subject=subject))
        except PolicyRejected as refused:
            if not handle:
                raise
            return f"wait {refused.retry_after}"

    async with serve(router, provides=with_functions) as service:
        for _ in range(3):
            await service.client.post("/verify?subject=ann&handle=0")
        unhandled = await service.client.post("/verify?subject=ann&handle=0")
        handled = await service.client.post("/verify?subject=ann&handle=1")
    assert unhandled.status_code == 429
    assert unhandled.headers["content-type"] == "application/problem+json"
    assert int(unhandled.headers["retry-after"]) >= 1
    assert handled.status_code == 200
    assert handled.json().startswith("wait ")
