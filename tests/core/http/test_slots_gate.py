"""Concurrency slots at the gate: whose requests are counted together, who is refused how, and that every slot comes back."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from app.core.context import Principal
from app.core.http import Platform
from app.core.policies import (
    Concurrency,
    Credits,
    Idempotency,
    JobConfig,
    RateLimit,
    Renewals,
    ResponseCache,
)
from app.core.resilience import ManualClock
from app.settings import Settings
from tests.core.http.gated import READER, WRITER, as_
from tests.core.http.workshop import LONG, Workshop, slotted, taken

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
ANN, ANDY, BEN = (
    Principal("ann", tenant_id="acme"),
    Principal("andy", tenant_id="acme"),
    Principal("ben", tenant_id="bolt"),
)


class TestWhose:
    async def test_a_caller_with_as_many_in_flight_as_he_may_is_429_and_others_pass(
        self, settings: Settings
    ) -> None:
        async with slotted().open(settings) as shop:
            async with shop.in_hand():
                refused = await shop.get()
                shop.free.set()
                assert (await shop.get(who=WRITER)).status_code == 200
            assert (await shop.get()).status_code == 200
        problem = refused.json()
        assert (refused.status_code, problem["reason"]) == (429, "concurrent_requests")
        assert problem["violated-policies"] == ["concurrency"]
        assert int(refused.headers["retry-after"]) >= 1
        assert "busy" in shop.verdicts

    async def test_a_tenants_callers_share_and_another_tenants_do_not(self, settings: Settings) -> None:
        async with (
            slotted(scope="tenant", people=(ANN, ANDY, BEN)).open(settings) as shop,
            shop.in_hand(who=ANN),
        ):
            refused = await shop.get(who=ANDY)
            shop.free.set()
            assert (await shop.get(who=BEN)).status_code == 200
        assert (refused.status_code, refused.json()["reason"]) == (429, "concurrent_requests")

    async def test_a_full_endpoint_is_503_for_everybody_and_leaves_other_endpoints_alone(
        self, settings: Settings
    ) -> None:
        shop = slotted(scope="route")
        shop.add("/other", "other", JobConfig(concurrency=Concurrency(max=1, scope="route")))
        async with shop.open(settings), shop.in_hand():
            refused = await shop.get(who=WRITER)
            shop.free.set()
            assert (await shop.get("/other")).status_code == 200
        assert refused.status_code == 503
        assert refused.json()["type"].endswith("#temporary-reduced-capacity")
        assert refused.json()["violated-policies"] == ["concurrency"]
        assert 1 <= int(refused.headers["retry-after"]) <= 3

    async def test_endpoints_that_name_one_pool_share_it(self, settings: Settings) -> None:
        pool = Concurrency(max=1, scope="global", name="exports")
        shop = slotted(slot=pool)
        shop.add("/other", "other", JobConfig(concurrency=pool))
        shop.add("/third", "third", JobConfig(concurrency=Concurrency(max=1, scope="global", name="third")))
        async with shop.open(settings), shop.in_hand():
            assert (await shop.get("/other", WRITER)).status_code == 503
            shop.free.set()
            assert (await shop.get("/third", WRITER)).status_code == 200

    async def test_of_two_that_must_agree_the_first_that_refuses_decides_and_neither_is_taken(
        self, settings: Settings
    ) -> None:
        both = (Concurrency(max=1, name="own"), Concurrency(max=5, scope="global", name="pool"))
        async with slotted(slot=both).open(settings) as shop, shop.in_hand():
            assert (await shop.get()).status_code == 429
            assert await taken(shop) == 2

    async def test_exactly_as_many_as_there_are_of_many_at_once(self, settings: Settings) -> None:
        async with slotted(5).open(settings) as shop:
            shop.free.clear()
            calls = [asyncio.create_task(shop.get()) for _ in range(40)]
            await shop.until(5)
            refused = []
            for answer in asyncio.as_completed(calls):
                refused.append((await answer).status_code)
                if len(refused) == 35:
                    break
            shop.free.set()
            answers = await asyncio.gather(*calls)
            assert await taken(shop) == 0
        assert refused == [429] * 35
        assert Counter(answer.status_code for answer in answers) == {200: 5, 429: 35}


class TestLease:
    KEY = "{u:reader}:v1:s:work.concurrency"

    async def lease_of(self, shop: Workshop, holder: str, left_ms: int) -> None:
        """As a process leaves it behind that was killed: so much is left of its lease."""
        seconds, micro = await shop.stored("TIME")
        now_ms = int(seconds) * 1000 + int(micro) // 1000
        await shop.stored("ZADD", self.KEY, str(now_ms + left_ms), holder)

    async def test_a_crash_frees_its_slot_when_its_lease_ends_and_not_before(
        self, settings: Settings
    ) -> None:
        async with slotted().open(settings) as shop:
            await self.lease_of(shop, "killed", 60_000)
            assert await shop.statuses(2) == [429, 429]
            await self.lease_of(shop, "killed", 0)
            assert await shop.statuses(2) == [200, 200]

    async def test_a_handler_that_works_for_longer_keeps_its_slot(self, settings: Settings) -> None:
        clock, renewals = ManualClock(), []

        def timed(platform: Platform) -> None:
            platform.renewals = Renewals(platform.admitter, clock=clock)
            renewals.append(platform.renewals)

        shop = slotted(slot=Concurrency(max=1, lease=9))
        async with shop.open(settings, timed), shop.in_hand():
            ((holder, _),) = [await shop.stored("ZRANGE", self.KEY, "0", "-1", "WITHSCORES")]
            await self.lease_of(shop, holder.decode(), 1000)
            before = float(await shop.stored("ZSCORE", self.KEY, holder.decode()))
            await renewals[0].renew_due()
            assert float(await shop.stored("ZSCORE", self.KEY, holder.decode())) == before
            clock.advance(3)
            await renewals[0].renew_due()
            assert float(await shop.stored("ZSCORE", self.KEY, holder.decode())) >= before + 7000
            assert (await shop.get()).status_code == 429

    async def test_a_slot_whose_lease_ended_is_not_brought_back(self, settings: Settings) -> None:
        clock = ManualClock()

        def timed(platform: Platform) -> None:
            platform.renewals = Renewals(platform.admitter, clock=clock)

        async with slotted(slot=Concurrency(max=1, lease=9)).open(settings, timed) as shop, shop.in_hand():
            await shop.stored("DEL", self.KEY)
            clock.advance(3)
            await shop.platform.renewals.renew_due()
            assert await taken(shop) == 0


class TestOrder:
    async def test_what_others_refuse_takes_none(self, settings: Settings) -> None:
        options: dict[str, Any] = {
            "rate_limit": RateLimit.fixed_window(limit=1, window=LONG),
            "credits": Credits(cost=1),
        }
        async with slotted(**options).open(settings) as shop:
            assert await shop.statuses(2) == [402, 429]
            assert await shop.keys("*:v1:s:*") == []

    async def test_a_cached_answer_takes_none(self, settings: Settings) -> None:
        shop = slotted(cache=ResponseCache(ttl=60))
        async with shop.open(settings):
            assert await shop.statuses(1) == [200]
            async with shop.in_hand("/work?n=1"):
                assert (await shop.get("/work?n=2")).status_code == 429
                assert (await shop.get()).json() == {"run": 1}

    async def test_a_replay_takes_none(self, settings: Settings) -> None:
        async with slotted(idempotency=Idempotency()).open(settings) as shop:
            await shop.post(idempotency_key="k")
            await shop.settled()
            async with shop.in_hand():
                assert (await shop.post(idempotency_key="k")).headers["idempotent-replayed"] == "true"
                assert (await shop.post(idempotency_key="other")).status_code == 429


@pytest.mark.parametrize(("down", "second"), [("local", 429), ("open", 200)])
async def test_without_the_store_this_process_counts_its_part_or_nobody_does(
    make_settings: Callable[..., Settings], down: Any, second: int
) -> None:
    settings = make_settings(valkey_url="valkey://127.0.0.1:1/0", replicas=2)
    async with slotted(slot=Concurrency(max=2, on_store_down=down)).open(settings) as shop:
        async with shop.in_hand():
            if second == 200:
                shop.free.set()
            assert (await shop.get()).status_code == second
        assert (await shop.client.get("/work", headers=as_(READER))).status_code == 200
