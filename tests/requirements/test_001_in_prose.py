"""Document 001: what it promises in prose, that everything is enforced by the config alone."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.core import APIRouter, JobConfig, RateLimit, Security, api_worker, enforce_all_policies
from app.core.db import Database
from app.core.errors import PolicyRejected
from app.core.policies import (
    CREDIT,
    Breaker,
    Caller,
    Concurrency,
    CostRequest,
    Credits,
    Encryption,
    Quota,
    ResponseCache,
    Retry,
)
from app.core.valkey import ValkeyClient
from app.registry import Feature
from app.settings import Settings
from tests.credited import CREDITS, balance_of, give
from tests.gated import bearer, serving
from tests.requirements.conftest import Serve


class Handler:
    """``GET /data`` under a config; fails while it is told to, and counts its runs."""

    def __init__(self, config: JobConfig, *, failing: int = 0, text: str = "data") -> None:
        self.router, self.runs, self.failing = APIRouter(), 0, failing
        self.started, self.held = asyncio.Semaphore(0), asyncio.Event()
        self.held.set()

        @self.router.get("/data", dependencies=[enforce_all_policies("data_get", config)])
        @api_worker(config)
        async def read() -> str:
            self.runs += 1
            if self.failing:
                self.failing -= 1
                raise ConnectionError("the upstream is away")
            self.started.release()
            await self.held.wait()
            return text


async def test_001_line_36_rate_limit_cache_and_security_are_one_config(serve: Serve) -> None:
    handler = Handler(
        JobConfig(
            security=Security(scopes=("read:data",)),
            rate_limit=RateLimit.fixed_window(limit=3, window=31_000_000),
            cache=ResponseCache(ttl=300),
        )
    )
    headers = bearer(uuid4(), scopes=["read:data"])
    async with serve(handler.router) as service:
        answers = [await service.client.get("/data", headers=headers) for _ in range(4)]
        foreign = await service.client.get("/data", headers=bearer(uuid4()))
    assert [answer.status_code for answer in (*answers, foreign)] == [200, 200, 200, 429, 403]
    assert ["hit" in answer.headers["cache-status"] for answer in answers[:3]] == [False, True, True]
    assert handler.runs == 1


async def test_001_line_72_retries_and_the_circuit_breaker_are_enforced_by_the_worker(serve: Serve) -> None:
    config = JobConfig(
        retry=Retry(retry_safe=True, attempts=3, base=0.001, cap=0.001),
        circuit_breaker=Breaker(dependency="requirement_001_72", min_calls=4, open_for=3600, open_most=3600),
    )
    handler = Handler(config, failing=2)
    async with serve(handler.router) as service:

        async def get() -> httpx2.Response:
            return await service.client.get("/data", headers=bearer(uuid4()))

        mended = await get()
        assert (mended.status_code, handler.runs) == (200, 3)
        handler.failing = 1000
        broken = [await get() for _ in range(10)]
        ran = handler.runs
        refused = await get()
    assert {answer.status_code for answer in broken} <= {500, 503}
    assert (refused.status_code, refused.json()["reason"]) == (503, "circuit_open")
    assert int(refused.headers["retry-after"]) >= 1
    assert handler.runs == ran < 3 + 10 * 3


async def test_001_line_92_credits_and_a_quota_are_required_by_the_config(
    settings: Settings, clean_store: None, clean_database: None, database: Database
) -> None:
    handler = Handler(JobConfig(credits=Credits(cost=10), quota=Quota(per="month", limit=2)))
    ann, bob = uuid4(), uuid4()
    await give(database, str(ann), 100)
    await give(database, str(bob), 15)
    async with serving(settings, CREDITS, Feature(name="example", router=handler.router)) as service:
        rich = [await service.client.get("/data", headers=bearer(ann)) for _ in range(3)]
        poor = [await service.client.get("/data", headers=bearer(bob)) for _ in range(2)]
    assert [answer.status_code for answer in rich] == [200, 200, 429]
    assert [answer.status_code for answer in poor] == [200, 402]
    assert (await balance_of(database, str(ann)), await balance_of(database, str(bob))) == (
        80 * CREDIT,
        5 * CREDIT,
    )


@pytest.mark.parametrize("encryption", [False, True])
async def test_001_line_111_encryption_is_a_word_in_the_config(
    serve: Serve, store: ValkeyClient, *, encryption: bool
) -> None:
    handler = Handler(
        JobConfig(cache=ResponseCache(ttl=300), encryption=encryption), text="word-that-must-not-be-seen"
    )
    headers = bearer(uuid4())
    async with serve(handler.router) as service:
        answers = [await service.client.get("/data", headers=headers) for _ in range(2)]
        kept = [
            await store.execute("GET", name)
            for name in await store.execute("KEYS", "*")
            if await store.execute("TYPE", name) == b"string"
        ]
    assert [answer.json() for answer in answers] == ["word-that-must-not-be-seen"] * 2
    assert handler.runs == 1
    assert kept
    assert any(b"word-that-must-not-be-seen" in value for value in kept) is not encryption


async def test_001_line_111_fields_that_the_config_names_are_encrypted(serve: Serve) -> None:
    config = JobConfig(encryption=Encryption(response=("ssn",), request=("ssn",)))
    router, got = APIRouter(), []

    @router.post("/people", dependencies=[enforce_all_policies("people_post", config)])
    @api_worker(config)
    async def write(person: dict[str, str]) -> dict[str, str]:
        got.append(person)
        return {"name": "Ann", "ssn": "078-05-1120"}

    headers = bearer(uuid4())
    async with serve(router) as service:
        first = await service.client.post("/people", headers=headers, json={})
        second = await service.client.post("/people", headers=headers, json=first.json())
        plain = await service.client.post("/people", headers=headers, json={"ssn": "078-05-1120"})
    assert [answer.status_code for answer in (first, second, plain)] == [200, 200, 422]
    assert b"078-05" not in first.content
    assert got == [{}, {"name": "Ann", "ssn": "078-05-1120"}]


@dataclass(frozen=True)
class OnlyWith:
    """A policy of one's own: the request must name a reason."""

    name: str = "only_with_reason"

    def refusal(self, caller: Caller, request: CostRequest) -> PolicyRejected | None:
        return None if "reason" in request.query else PolicyRejected("Say why.", violated=(self.name,))


async def test_001_line_114_a_new_policy_is_a_class_and_a_line_in_the_config(serve: Serve) -> None:
    handler = Handler(JobConfig(extra=(OnlyWith(),)))
    headers = bearer(uuid4())
    async with serve(handler.router) as service:
        silent = await service.client.get("/data", headers=headers)
        given = await service.client.get("/data?reason=audit", headers=headers)
        shown = (await service.client.get("/metrics")).text
    assert (silent.status_code, silent.json()["violated-policies"]) == (429, ["only_with_reason"])
    assert (given.status_code, handler.runs) == (200, 1)
    assert 'verdict="only_with_reason"' in shown


async def test_001_line_227_a_cached_answer_ends_when_its_data_change(serve: Serve) -> None:
    reading = JobConfig(cache=ResponseCache(ttl=300, tags=("data:{user}",)))
    writing = JobConfig(invalidates=("data:{user}",))
    handler = Handler(reading)

    @handler.router.put("/data", dependencies=[enforce_all_policies("data_put", writing)])
    @api_worker(writing)
    async def write() -> str:
        return "written"

    ann, bob = bearer(uuid4()), bearer(uuid4())
    async with serve(handler.router) as service:
        for headers in (ann, ann, bob):
            await service.client.get("/data", headers=headers)
        assert handler.runs == 2
        assert (await service.client.put("/data", headers=ann)).status_code == 200
        for headers in (ann, ann, bob):
            await service.client.get("/data", headers=headers)
    assert handler.runs == 3


async def test_001_line_280_concurrency_is_bounded_over_all_callers(serve: Serve) -> None:
    handler = Handler(JobConfig(concurrency=Concurrency(max=2, scope="global", name="calculations")))
    handler.held.clear()

    async with serve(handler.router) as service:

        def get() -> Any:
            return service.client.get("/data", headers=bearer(uuid4()))

        first = [asyncio.create_task(get()) for _ in range(2)]
        for _ in first:
            await asyncio.wait_for(handler.started.acquire(), 10)
        third = await get()
        handler.held.set()
        done = await asyncio.gather(*first)
        afterwards = await get()
    assert (third.status_code, handler.runs) == (503, 3)
    assert int(third.headers["retry-after"]) >= 1
    assert [answer.status_code for answer in (*done, afterwards)] == [200, 200, 200]
