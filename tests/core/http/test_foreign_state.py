"""Somebody else has written under our keys in Valkey: each policy does what it does in an outage, and nobody sees a bare 500."""

import asyncio
from typing import Any

import httpx2
import pytest
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from structlog.testing import capture_logs

from app.core.db import Database
from app.core.policies import Concurrency, Credits, Idempotency, JobConfig, Quota, RateLimit, ResponseCache
from app.settings import Settings
from tests.core.http.workshop import PATIENCE_S, Workshop, debits, fund

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")

LIMITS = (
    RateLimit.token_bucket("user", max_tokens=1000, refill_rate=1000),
    RateLimit(name="fixed", algorithm="fixed_window", quota=1000, window=3600.0, charge="admit"),
    RateLimit(name="sliding", algorithm="sliding_window", quota=1000, window=3600.0, charge="admit"),
)
EVERYTHING = JobConfig(
    rate_limit=LIMITS,
    quota=Quota(per="day", limit=10_000),
    credits=Credits(cost=1),
    concurrency=Concurrency(max=100),
    cache=ResponseCache(ttl=60, tags=("orders",)),
    idempotency=Idempotency(),
)
FOREIGN: dict[str, tuple[str | bytes, ...]] = {
    "a list": ("RPUSH", "x"),
    "a hash": ("HSET", "b", "nan", "v", "x", "h", "-inf", "rx", "y"),
    "a sorted set": ("ZADD", "inf", "x"),
    "a word": ("SET", "abc"),
    "not a number": ("SET", "nan"),
    "infinity": ("SET", "inf"),
    "less than nothing": ("SET", "-5"),
    "nothing": ("SET", ""),
    "bytes": ("SET", b"\xff\x00\xfe 1 1"),
}
KINDS = ("l:", "q:", "c", "i:", "e:", "t")
"""Parts of keys: limits, quota, account, claims, entries, tags. Slots are there only while a request is in hand."""


async def soil(shop: Workshop, key: str, kind: str = "a list") -> None:
    """Put something else under the key."""
    command, *rest = FOREIGN[kind]
    await shop.stored("DEL", key)
    await shop.stored(str(command), key, *rest)  # type: ignore[arg-type]


def assert_clean(answer: httpx2.Response, where: str) -> None:
    if answer.status_code < 400:
        return
    assert answer.status_code in (409, 429, 503), (where, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json", where
    assert answer.json()["request_id"] == answer.headers["x-request-id"], where
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) >= 1, where


@pytest.mark.parametrize("kind", FOREIGN)
async def test_whatever_stands_under_any_key_the_answer_is_clean(
    settings: Settings, database: Database, kind: str
) -> None:
    await fund(database, 1000)
    async with Workshop(EVERYTHING).open(settings) as shop:

        async def ask(new: str) -> list[httpx2.Response]:
            """What was asked before, and what was not."""
            seen = [await shop.get(), await shop.post(Idempotency_Key="k")]
            return [*seen, await shop.get(f"/work?n={new}"), await shop.post(Idempotency_Key=new)]

        await ask("0")
        keys = [key for key in await shop.keys("*") if ":v1:r:" not in key and ":v1:s:" not in key]
        assert {
            part for part in KINDS if any(key.partition(":v1:")[2].startswith(part) for key in keys)
        } == set(KINDS)
        for number, key in enumerate(keys, 1):
            await shop.stored("FLUSHDB")
            await ask("0")
            await shop.settled()
            await soil(shop, key, kind)
            for answer in await ask(str(number)):
                assert_clean(answer, key)
            await shop.settled()


@pytest.mark.parametrize("part", ["l:", "q:", "e:", "s:"])
async def test_a_limit_a_quota_slots_and_an_entry_that_cannot_be_read_are_done_without(
    settings: Settings, database: Database, part: str
) -> None:
    await fund(database, 1000)
    config = JobConfig(
        rate_limit=LIMITS[1], quota=Quota(per="day", limit=5), concurrency=Concurrency(max=5),
        cache=ResponseCache(ttl=60),
    )  # fmt: skip
    async with Workshop(config).open(settings) as shop:
        async with shop.in_hand():
            during = await shop.keys(f"*:v1:{part}*")
        after = await shop.keys(f"*:v1:{part}*")
        await soil(shop, (after or during)[0])
        answer = await shop.get("/work" if part == "e:" else "/work?n=1")
        assert (answer.status_code, shop.events[-1].degraded) == (200, True)
        assert "ratelimit" not in answer.headers


@pytest.mark.parametrize(("part", "why"), [("i:", "whether this request"), ("c", "balance")])
async def test_a_claim_and_an_account_that_cannot_be_read_are_503(
    settings: Settings, database: Database, part: str, why: str
) -> None:
    await fund(database, 1000)
    config = JobConfig(rate_limit=None, credits=Credits(cost=1), idempotency=Idempotency())
    async with Workshop(config).open(settings) as shop:
        assert (await shop.post(Idempotency_Key="k")).status_code == 200
        (key,) = [key for key in await shop.keys(f"{{u:*:v1:{part}*") if not key.endswith(":x")]
        await soil(shop, key)
        answer = await (shop.post(Idempotency_Key="k") if part == "i:" else shop.post())
        assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (503, True)
        assert why in answer.text
        assert (shop.runs, shop.verdicts[-1]) == (1, "unavailable")


async def test_a_settlement_that_cannot_be_made_does_not_change_the_answer(
    settings: Settings, database: Database
) -> None:
    """SETTLE before the first byte, after a commit: the debit is there, so the answer must be too."""
    await fund(database, 10)
    config = JobConfig(rate_limit=None, credits=Credits(cost=2), concurrency=Concurrency(max=5))
    async with Workshop(config).open(settings) as shop:
        async with shop.in_hand() as task:
            await soil(shop, (await shop.keys("*:v1:s:*"))[0])
        assert (await task).status_code == 200
        assert [amount for amount, _, _ in await debits(database)] == [2]


@pytest.mark.parametrize(("outcome", "status"), [(HTTPException(404), 404), (JSONResponse({}, 409), 409)])
async def test_giving_back_that_cannot_be_done_does_not_change_the_answer(
    settings: Settings, outcome: Any, status: int
) -> None:
    async with Workshop(JobConfig(rate_limit=None, concurrency=Concurrency(max=5))).open(settings) as shop:
        async with shop.in_hand() as task:
            await soil(shop, (await shop.keys("*:v1:s:*"))[0])
            shop.outcome = outcome
        assert (await task).status_code == status
        await shop.settled()


async def test_leases_that_cannot_be_renewed_end_and_the_work_goes_on(settings: Settings) -> None:
    async with Workshop(JobConfig(rate_limit=None, concurrency=Concurrency(max=5, lease=1.0))).open(
        settings
    ) as shop:
        with capture_logs() as logs:
            async with shop.in_hand() as task, asyncio.timeout(PATIENCE_S):
                await soil(shop, (await shop.keys("*:v1:s:*"))[0])
                while not [line for line in logs if line["event"] == "policy.lease_not_renewed"]:
                    await shop.platform.renewals.renew_due()
        assert (await task).status_code == 200


async def test_who_refuses_is_logged_once_and_counted_each_time(settings: Settings) -> None:
    async with Workshop(JobConfig(rate_limit=LIMITS[1])).open(settings) as shop:
        await shop.get()
        await soil(shop, (await shop.keys("*:v1:l:*"))[0])
        with capture_logs() as logs:
            for _ in range(3):
                assert (await shop.get()).status_code == 200
        refused = [line for line in logs if line["event"] == "store.refused"]
        assert [(line["log_level"], "WRONGTYPE" in line["reason"]) for line in refused] == [("error", True)]
        metrics = (await shop.client.get("/metrics")).text
        assert 'gatehouse_store_errors_total{code="WRONGTYPE"} 3.0' in metrics


async def test_a_tag_that_is_no_version_gets_one(settings: Settings) -> None:
    async with Workshop(JobConfig(rate_limit=None, cache=ResponseCache(ttl=60, tags=("orders",)))).open(
        settings
    ) as shop:
        for kind in FOREIGN:
            before = (await shop.get()).json()
            await soil(shop, "{tag:orders}:v1:t", kind)
            first, second = [(await shop.get()).json() for _ in range(2)]
            assert (before != first, first == second) == (True, True), kind
