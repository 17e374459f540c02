"""What a request had taken is reported when it ends, as a scraper of /metrics sees it."""

import asyncio

import httpx2
import pytest
from fastapi import FastAPI

from app.core.http import APIRouter, api_worker, enforce_all_policies
from app.core.policies import Concurrency, Idempotency, JobConfig
from app.core.valkey import ValkeyClient
from app.settings import Settings
from tests.core.http.gated import READER, as_, serving

pytestmark = pytest.mark.usefixtures("clean_store")


class Desk:
    """``POST /orders`` under one policy; the handler waits for ``gate``."""

    def __init__(self, config: JobConfig) -> None:
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.router = APIRouter()

        @self.router.post("/orders", dependencies=[enforce_all_policies("orders", config)])
        @api_worker(config)
        async def order() -> int:
            self.runs += 1
            await self.gate.wait()
            return self.runs

    async def until(self, runs: int) -> None:
        for _ in range(10_000):
            if self.runs >= runs:
                return
            await asyncio.sleep(0.001)
        raise TimeoutError


async def order(client: httpx2.AsyncClient) -> int:
    answer = await client.post("/orders", headers={**as_(READER), "Idempotency-Key": "k"})
    return answer.status_code


async def counted(client: httpx2.AsyncClient) -> dict[str, float]:
    """Settlements of the policy by outcome."""
    lines = (await client.get("/metrics")).text.splitlines()
    start = "gatehouse_settlements_total{outcome="
    found = [line.removeprefix(start) for line in lines if line.startswith(start)]
    assert all('policy="orders"}' in line for line in found)
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in found}


async def expire(store: ValkeyClient) -> None:
    """The lease of every pending claim is over."""
    for key in await store.execute("KEYS", "*:v1:i:*"):
        kind, fingerprint, generation, _, rid = (await store.execute("GET", key)).split(b" ")
        record = b" ".join((kind, fingerprint, generation, b"1", rid))
        await store.execute("SET", key, record, "KEEPTTL")


async def test_a_settlement_in_time_is_counted_and_its_replay_is_none(settings: Settings) -> None:
    desk = Desk(JobConfig(idempotency=Idempotency()))
    async with serving(settings, desk.router, address="127.0.0.1") as client:
        assert [await order(client), await order(client)] == [200, 200]
        assert await counted(client) == {"settled": 1}


async def test_a_claim_that_was_taken_over_is_counted_and_its_former_holder_is_fenced(
    settings: Settings, store: ValkeyClient
) -> None:
    desk = Desk(JobConfig(idempotency=Idempotency(on_expired_claim="rerun")))
    desk.gate.clear()
    async with serving(settings, desk.router, address="127.0.0.1") as client:
        first = asyncio.create_task(order(client))
        await desk.until(1)
        await expire(store)
        second = asyncio.create_task(order(client))
        await desk.until(2)
        assert await counted(client) == {"takeover": 1}
        desk.gate.set()
        assert [await first, await second] == [200, 200]
        assert await counted(client) == {"takeover": 1, "settled": 1, "fenced": 1}


async def test_a_slot_whose_lease_was_over_is_late(settings: Settings, store: ValkeyClient) -> None:
    desk = Desk(JobConfig(concurrency=Concurrency(max=1)))
    desk.gate.clear()
    apps: list[FastAPI] = []
    async with serving(settings, desk.router, address="127.0.0.1", change=apps.append) as client:
        first = asyncio.create_task(order(client))
        await desk.until(1)
        (key,) = await store.execute("KEYS", "*:v1:s:*")
        (rid,) = await store.execute("ZRANGE", key, 0, -1)
        await store.execute("ZADD", key, 1, rid)
        desk.gate.set()
        assert await first == 200
        await apps[0].state.gatehouse.admitter.close()  # it is settled after the last byte
        assert await counted(client) == {"late": 1}
