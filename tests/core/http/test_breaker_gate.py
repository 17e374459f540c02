"""Circuit breakers at the gate: an open one is answered before anything is taken; who may find out whether it works again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import HTTPException

from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.http import Platform
from app.core.policies import (
    Breaker,
    Concurrency,
    Credits,
    Idempotency,
    JobConfig,
    Quota,
    RateLimit,
    ResponseCache,
)
from app.core.resilience import Breakers, ManualClock
from app.settings import Settings
from tests.core.http.gated import NOBODY, WRITER
from tests.core.http.workshop import LONG, Workshop, fund, taken, used

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
WEATHER = Breaker(dependency="weather", min_calls=2, open_for=5.0)


def needing(breaker: Breaker = WEATHER, **options: Any) -> Workshop:
    return Workshop(JobConfig(circuit_breaker=breaker, **{"rate_limit": None, **options}))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broken(settings: Settings, clock: ManualClock) -> AsyncIterator[Workshop]:
    """Two calls failed and opened its circuit; the test moves the breakers' time. Open periods are not shortened."""

    def change(platform: Platform) -> None:
        platform.breakers = Breakers(clock=clock, rng=lambda: 0.0, hub=platform.hub)

    shop = needing()
    shop.outcome = ConnectionError()
    async with shop.open(settings, change):
        assert await shop.statuses(2) == [500, 500]
        yield shop


def isolate(platform: Platform, dependency: str = "weather") -> None:
    """An operator opens it by hand."""
    breaker = platform.breakers.find(dependency)
    assert breaker is not None
    breaker.set_mode("isolated")


class TestOpen:
    async def test_it_is_told_by_name_and_nothing_runs(self, settings: Settings) -> None:
        async with needing(rate_limit=RateLimit.fixed_window(limit=9, window=LONG)).open(settings) as shop:
            isolate(shop.platform)
            answer = await shop.get()
        assert (answer.status_code, shop.runs, shop.verdicts) == (503, 0, ["circuit_open"])
        assert (answer.json()["policy"], answer.json()["reason"]) == ("work", "circuit_open")
        assert int(answer.headers["retry-after"]) >= 1
        assert '"user";r=8' in answer.headers["ratelimit"]

    async def test_nothing_is_taken_for_a_call_that_cannot_succeed(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 9)
        options: dict[str, Any] = {
            "credits": Credits(cost=2),
            "quota": Quota(per="month", limit=9),
            "concurrency": Concurrency(max=9),
            "idempotency": Idempotency(),
        }
        async with needing(**options).open(settings) as shop:
            isolate(shop.platform)
            assert (await shop.post(idempotency_key="k")).status_code == 503
            assert await shop.left() == (9, 0)
            assert (await used(shop), await taken(shop)) == ([], 0)
            assert await shop.keys("*:v1:i:*") == []

    async def test_the_attempt_is_charged(self, settings: Settings) -> None:
        limit = RateLimit.fixed_window(limit=2, window=LONG)
        async with needing(rate_limit=limit).open(settings) as shop:
            isolate(shop.platform)
            assert await shop.statuses(3) == [503, 503, 429]

    async def test_it_comes_before_too_few_credits(self, settings: Settings) -> None:
        async with needing(credits=Credits(cost=2)).open(settings) as shop:
            assert (await shop.get()).status_code == 402
            isolate(shop.platform)
            assert (await shop.get()).status_code == 503

    async def test_what_is_kept_is_given_all_the_same(self, settings: Settings) -> None:
        async with needing(cache=ResponseCache(ttl=60), idempotency=Idempotency()).open(settings) as shop:
            await shop.get()
            await shop.post(idempotency_key="k")
            await shop.settled()
            isolate(shop.platform)
            assert (await shop.get()).json() == {"run": 1}
            assert (await shop.post(idempotency_key="k")).json() == {"run": 2}
            assert (await shop.get(who=WRITER)).status_code == 503


class TestWhatCounts:
    async def test_answers_of_4xx_say_nothing_about_it(self, settings: Settings) -> None:
        shop = needing()
        shop.outcome = HTTPException(404)
        async with shop.open(settings):
            assert await shop.statuses(5) == [404] * 5

    async def test_answers_of_5xx_do(self, settings: Settings) -> None:
        shop = needing()
        shop.outcome = HTTPException(502)
        async with shop.open(settings):
            assert await shop.statuses(3) == [502, 502, 503]

    async def test_refusals_of_the_gate_do_not(self, settings: Settings) -> None:
        async with needing(credits=Credits(cost=2)).open(settings) as shop:
            assert await shop.statuses(5) == [402] * 5

    async def test_a_wrong_body_does_not(self, settings: Settings) -> None:
        async with needing().open(settings) as shop:
            assert [(await shop.post_nonsense()).status_code for _ in range(3)] == [422] * 3


class TestDependency:
    async def test_endpoints_that_need_the_same_one_share_its_breaker_and_callers_too(
        self, settings: Settings
    ) -> None:
        shop = needing()
        shop.add("/other", "other", JobConfig(circuit_breaker=WEATHER))
        shop.add("/third", "third", JobConfig(circuit_breaker=Breaker(dependency="maps", min_calls=2)))
        shop.outcome = ConnectionError()
        async with shop.open(settings):
            assert await shop.statuses(2) == [500, 500]
            assert await shop.statuses(1, "/other", NOBODY) == [503]
            assert await shop.statuses(1, "/third") == [500]

    async def test_unequal_numbers_stop_the_start(self, settings: Settings) -> None:
        shop = needing()
        shop.add("/other", "other", JobConfig(circuit_breaker=Breaker(dependency="weather", min_calls=3)))
        with pytest.raises(ConfigurationError, match="weather"):
            async with shop.open(settings):
                pass


class TestRecovery:
    async def test_after_its_time_so_many_may_try_and_a_success_closes_it(
        self, broken: Workshop, clock: ManualClock
    ) -> None:
        broken.outcome = None
        clock.advance(4.9)
        assert await broken.statuses(1) == [503]
        clock.advance(0.2)
        async with broken.in_hand() as probe:
            assert [(await broken.get()).status_code for _ in range(3)] == [503] * 3
        assert (await probe).status_code == 200
        assert await broken.statuses(3) == [200] * 3

    async def test_a_failed_try_opens_it_for_twice_as_long(
        self, broken: Workshop, clock: ManualClock
    ) -> None:
        clock.advance(5.1)
        assert await broken.statuses(2) == [500, 503]
        clock.advance(5.1)
        assert await broken.statuses(1) == [503]
        clock.advance(5.1)
        assert await broken.statuses(1) == [500]

    async def test_a_try_whose_caller_leaves_lets_the_next_one_try(
        self, broken: Workshop, clock: ManualClock
    ) -> None:
        broken.outcome = None
        clock.advance(5.1)
        async with broken.in_hand() as probe:
            await broken.leave(probe)
        assert await broken.statuses(2) == [200, 200]

    async def test_of_fifty_at_once_one_tries(self, broken: Workshop, clock: ManualClock) -> None:
        broken.outcome = None
        clock.advance(5.1)
        broken.free.clear()
        calls = [asyncio.create_task(broken.get()) for _ in range(50)]
        await broken.until(3)
        refused = []
        for answer in asyncio.as_completed(calls):
            refused.append((await answer).status_code)
            if len(refused) == 49:
                break
        broken.free.set()
        await asyncio.gather(*calls)
        assert (refused, broken.runs) == ([503] * 49, 3)
