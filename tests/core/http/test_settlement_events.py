"""What a request had taken is reported when it ends, as a scraper of /metrics sees it."""

import asyncio

import pytest

from app.core.policies import Concurrency, Idempotency, JobConfig
from app.core.valkey import ValkeyClient
from app.settings import Settings
from tests.core.http.workshop import Workshop

pytestmark = pytest.mark.usefixtures("clean_store")


async def order(shop: Workshop) -> int:
    return (await shop.post(idempotency_key="k")).status_code


async def counted(shop: Workshop) -> dict[str, float]:
    """Settlements of the policy by outcome."""
    lines = (await shop.client.get("/metrics")).text.splitlines()
    start = "gatehouse_settlements_total{outcome="
    found = [line.removeprefix(start) for line in lines if line.startswith(start)]
    assert all('policy="work"}' in line for line in found)
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in found}


async def expire(store: ValkeyClient) -> None:
    """The lease of every pending claim is over."""
    for key in await store.execute("KEYS", "*:v1:i:*"):
        kind, fingerprint, generation, _, rid = (await store.execute("GET", key)).split(b" ")
        record = b" ".join((kind, fingerprint, generation, b"1", rid))
        await store.execute("SET", key, record, "KEEPTTL")


async def test_a_settlement_in_time_is_counted_and_its_replay_is_none(settings: Settings) -> None:
    shop = Workshop(JobConfig(idempotency=Idempotency()))
    async with shop.open(settings):
        assert [await order(shop), await order(shop)] == [200, 200]
        assert await counted(shop) == {"settled": 1}


async def test_a_claim_that_was_taken_over_is_counted_and_its_former_holder_is_fenced(
    settings: Settings, store: ValkeyClient
) -> None:
    shop = Workshop(JobConfig(idempotency=Idempotency(on_expired_claim="rerun")))
    shop.free.clear()
    async with shop.open(settings):
        first = asyncio.create_task(order(shop))
        await shop.until(1)
        await expire(store)
        second = asyncio.create_task(order(shop))
        await shop.until(2)
        assert await counted(shop) == {"takeover": 1}
        shop.free.set()
        assert [await first, await second] == [200, 200]
        assert await counted(shop) == {"takeover": 1, "settled": 1, "fenced": 1}


async def test_a_slot_whose_lease_was_over_is_late(settings: Settings, store: ValkeyClient) -> None:
    shop = Workshop(JobConfig(concurrency=Concurrency(max=1)))
    shop.free.clear()
    async with shop.open(settings):
        first = asyncio.create_task(order(shop))
        await shop.until(1)
        (key,) = await store.execute("KEYS", "*:v1:s:*")
        (rid,) = await store.execute("ZRANGE", key, 0, -1)
        await store.execute("ZADD", key, 1, rid)
        shop.free.set()
        assert await first == 200
        await shop.settled()  # after the last byte
        assert await counted(shop) == {"late": 1}
