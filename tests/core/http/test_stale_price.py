"""A stale answer costs what a hit costs, also when its caller's request computes the new one behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.responses import JSONResponse

from app.core.db import Database
from app.core.policies import (
    Concurrency,
    CreditLedger,
    Credits,
    HoldBook,
    JobConfig,
    Quota,
    RateLimit,
    ResponseCache,
    Settled,
)
from app.settings import Settings
from tests.core.http.workshop import LONG, PATIENCE_S, Workshop, debits, fund, taken

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")

SLOW = 0.02
ADMITTED = RateLimit.fixed_window("once", limit=10, window=LONG, charge="admit")
TRIED = RateLimit.fixed_window("tried", limit=10, window=LONG)
PRICED = JobConfig(
    rate_limit=(ADMITTED, TRIED),
    quota=Quota(per="day", limit=10),
    credits=Credits(cost=2),
    concurrency=Concurrency(max=1),
    cache=ResponseCache(ttl=60, stale=600, soft_timeout=SLOW),
)
PATIENT = replace(PRICED, cache=ResponseCache(ttl=60, stale=600, soft_timeout=PATIENCE_S))


@asynccontextmanager
async def with_a_stale_answer(
    config: JobConfig, settings: Settings, database: Database
) -> AsyncIterator[Workshop]:
    """It has been asked once, and paid for; what it said is stale by now."""
    await fund(database, 10)
    shop = Workshop(config)
    shop.at("2099-05-05T12:00")
    async with shop.open(settings):
        assert (await shop.get()).status_code == 200
        assert await prices(shop) == (8, 0, 1, 1, 1)
        (key,) = await shop.keys("*:v1:e:*")
        created, _, rest = (await shop.stored("GET", key)).decode().split(" ", 2)
        await shop.stored("SET", key, f"{created} {created} {rest}", "KEEPTTL")
        yield shop


async def prices(shop: Workshop) -> tuple[float, ...]:
    """Credits left and held; uses of the quota; requests that the two limits have counted."""
    await shop.platform.services[CreditLedger].aclose()  # posts what waits
    await shop.platform.require(HoldBook).close()
    counts = [await count(shop, pattern) for pattern in ("*:v1:q:*", "*:v1:l:*.once*", "*:v1:l:*.tried*")]
    return (*await shop.left(), *counts)


async def behind(shop: Workshop) -> None:
    """Wait for what goes on behind the answers."""
    await asyncio.gather(*shop.platform.background._tasks, return_exceptions=True)


async def count(shop: Workshop, pattern: str) -> int:
    (key,) = await shop.keys(pattern)
    return int(
        (await shop.stored("GET", key)).split(b" ")[-2 if b" " in await shop.stored("GET", key) else -1]
    )


@pytest.mark.parametrize("settle", ["strict", "batched"])
async def test_who_is_not_kept_waiting_for_a_slow_one_pays_nothing_for_it(
    settings: Settings, database: Database, settle: Any
) -> None:
    config = replace(PRICED, credits=Credits(cost=2, settle=settle))
    async with with_a_stale_answer(config, settings, database) as shop:
        shop.free.clear()
        stale = await shop.get()
        assert (stale.json(), "stale" in stale.headers["cache-status"]) == ({"run": 1}, True)
        assert (await prices(shop), await taken(shop)) == ((8, 0, 1, 1, 2), 1)
        shop.free.set()
        await behind(shop)
        assert (await prices(shop), await taken(shop)) == ((8, 0, 1, 1, 2), 0)
        new = await shop.get()
        assert (new.json(), new.headers["cache-status"].startswith("gatehouse; hit;")) == ({"run": 2}, True)
    assert len(await debits(database)) == 1


@pytest.mark.parametrize("failure", [HTTPException(502), JSONResponse({}, 503), ZeroDivisionError()])
async def test_who_gets_it_because_the_new_one_fails_pays_nothing(
    settings: Settings, database: Database, failure: Any
) -> None:
    async with with_a_stale_answer(PATIENT, settings, database) as shop:
        shop.outcome = failure
        assert (await shop.get()).json() == {"run": 1}
        assert (await prices(shop), await taken(shop)) == ((8, 0, 1, 1, 2), 0)


async def test_who_gets_the_new_one_pays(settings: Settings, database: Database) -> None:
    async with with_a_stale_answer(PATIENT, settings, database) as shop:
        assert (await shop.get()).json() == {"run": 2}
        assert (await prices(shop), await taken(shop)) == ((6, 0, 2, 2, 2), 0)


async def test_a_slow_one_that_fails_in_the_end_gives_nothing_back_twice(
    settings: Settings, database: Database
) -> None:
    async with with_a_stale_answer(PRICED, settings, database) as shop:
        shop.free.clear()
        assert (await shop.get()).json() == {"run": 1}
        await shop.settled()
        for receipt in await shop.keys("*:v1:r:*"):  # as after the ten seconds that they live
            await shop.stored("DEL", receipt)
        shop.outcome = ZeroDivisionError()
        shop.free.set()
        await behind(shop)
        assert (await prices(shop), await taken(shop)) == ((8, 0, 1, 1, 2), 0)


async def test_one_that_is_being_paid_for_when_his_patience_ends_is_given_to_him(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_a_stale_answer(PRICED, settings, database) as shop:
        ledger = shop.platform.services[CreditLedger]
        debit, waiting, enough = ledger.debit, asyncio.Event(), asyncio.Event()

        async def slow(*args: Any) -> Any:
            waiting.set()
            await enough.wait()
            return await debit(*args)

        monkeypatch.setattr(ledger, "debit", slow)
        asking = asyncio.create_task(shop.get())
        await waiting.wait()
        done, _ = await asyncio.wait({asking}, timeout=5 * SLOW)
        assert not done
        enough.set()
        assert (await asking).json() == {"run": 2}
        assert await prices(shop) == (6, 0, 2, 2, 2)


async def test_who_has_gone_meanwhile_pays_nothing(settings: Settings, database: Database) -> None:
    async with with_a_stale_answer(PATIENT, settings, database) as shop:
        async with shop.in_hand() as task:
            task.cancel()
            await asyncio.wait([task])
        await behind(shop)
        assert await prices(shop) == (8, 0, 1, 1, 2)
        assert (await shop.get()).json() == {"run": 2}


async def test_its_settlement_is_in_time(settings: Settings, database: Database) -> None:
    async with with_a_stale_answer(PRICED, settings, database) as shop:
        ends = list[Settled]()
        shop.platform.admitter._on_settled = lambda _, settled: ends.append(settled)
        shop.free.clear()
        await shop.get()
        shop.free.set()
        await behind(shop)
        await shop.settled()
        assert ends == [Settled()]
