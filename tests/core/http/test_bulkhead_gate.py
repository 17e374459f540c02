"""Bulkheads at the gate: handlers at once in this process; who is refused gets back what his admission took."""

import asyncio

import httpx2
import pytest

from app.core.db import Database
from app.core.policies import Breaker, Bulkhead, Concurrency, Credits, JobConfig, Quota
from app.settings import Settings
from tests.core.http.gated import READER, WRITER
from tests.core.http.workshop import FAILURES, PATIENCE_S, Workshop, fund, taken, used

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


async def queued(shop: Workshop) -> asyncio.Task[httpx2.Response]:
    """A request that stands in a queue for one: of two at once one is refused, the other waits."""
    two = [asyncio.create_task(shop.get()) for _ in range(2)]
    (refused,), (waiting,) = await asyncio.wait(two, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    assert refused.result().status_code == 503
    return waiting


class TestQueue:
    CONFIG = JobConfig(rate_limit=None, bulkhead=Bulkhead(max=1, queue=1, queue_timeout=PATIENCE_S))

    async def test_who_waits_gets_the_place_and_who_finds_the_queue_full_is_503(
        self, settings: Settings
    ) -> None:
        async with Workshop(self.CONFIG).open(settings) as shop:
            async with shop.in_hand() as first:
                waiting = await queued(shop)
                assert shop.runs == 1
            assert [(await task).status_code for task in (first, waiting)] == [200, 200]

    async def test_who_waits_in_vain_is_503(self, settings: Settings) -> None:
        config = JobConfig(rate_limit=None, bulkhead=Bulkhead(max=1, queue=5, queue_timeout=0.001))
        async with Workshop(config).open(settings) as shop, shop.in_hand():
            answer = await shop.get()
            assert (answer.status_code, answer.json()["reason"], shop.runs) == (503, "bulkhead", 1)

    async def test_who_leaves_the_queue_takes_no_place(self, settings: Settings) -> None:
        async with Workshop(self.CONFIG).open(settings) as shop:
            async with shop.in_hand():
                await shop.leave(await queued(shop))
            assert await shop.statuses(1) == [200]
            assert shop.runs == 2


class TestRefused:
    async def test_he_gets_back_what_his_admission_took(self, settings: Settings, database: Database) -> None:
        config = JobConfig(
            rate_limit=None,
            bulkhead=Bulkhead(max=1),
            credits=Credits(cost=2),
            quota=Quota(per="month", limit=9),
            concurrency=Concurrency(max=9),
        )
        await fund(database, 9)
        await fund(database, 9, WRITER)
        async with Workshop(config).open(settings) as shop, shop.in_hand(who=WRITER):
            assert (await shop.get()).status_code == 503
            assert await shop.left(READER) == (9, 0)
            assert await used(shop) == [0, 1]
            assert await taken(shop) == 1

    async def test_it_says_nothing_about_what_the_handler_needs(self, settings: Settings) -> None:
        breaker = Breaker(dependency="weather", min_calls=1, failure_rate=0.01)
        config = JobConfig(rate_limit=None, bulkhead=Bulkhead(max=1), circuit_breaker=breaker)
        async with Workshop(config).open(settings) as shop:
            async with shop.in_hand():
                assert (await shop.get()).json()["reason"] == "bulkhead"
            assert await shop.statuses(1) == [200]


class TestFreed:
    @pytest.mark.parametrize("failure", FAILURES)
    async def test_when_the_handler_fails(self, settings: Settings, failure: str) -> None:
        shop = Workshop(JobConfig(rate_limit=None, bulkhead=Bulkhead(max=1)))
        shop.outcome, status = FAILURES[failure]
        async with shop.open(settings):
            assert await shop.statuses(2) == [status, status]

    async def test_when_the_caller_leaves(self, settings: Settings) -> None:
        async with Workshop(JobConfig(rate_limit=None, bulkhead=Bulkhead(max=1))).open(settings) as shop:
            async with shop.in_hand() as task:
                await shop.leave(task)
            assert await shop.statuses(1) == [200]

    async def test_when_the_time_is_over(self, settings: Settings) -> None:
        shop = Workshop(JobConfig(rate_limit=None, bulkhead=Bulkhead(max=1), timeout=0.01))
        shop.free.clear()
        async with shop.open(settings):
            assert await shop.statuses(2) == [504, 504]
