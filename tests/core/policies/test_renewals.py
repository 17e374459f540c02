"""Leases of work in hand."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.core.policies import Admission, Admitter, Ask, Renewals, Verdict
from app.core.resilience import ManualClock
from app.core.valkey import ValkeyClient
from tests.core.policies.asking import ALICE, NO_LIMITS, TimedStore, slot, timed

pytestmark = pytest.mark.usefixtures("clean_store")


async def test_the_shortest_lease_that_may_be_configured_does_not_end_before_its_work(
    store: ValkeyClient,
) -> None:
    admitter, time = await timed(store)
    clock, is_over = ManualClock(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        await time.at(clock.time() - 1_700_000_000.0)
        if time.now > 1_800_000_005:
            is_over.set()
            await asyncio.Event().wait()

    ask = Ask(slots=(slot(1, lease_ms=1000),))
    renewals = Renewals(admitter, clock=clock, sleep=sleep)
    renewals.add(await admitter.admit(NO_LIMITS, ALICE, None, ask))
    async with asyncio.timeout(10):
        await is_over.wait()
    assert (await admitter.admit(NO_LIMITS, ALICE, None, ask)).verdict is Verdict.BUSY
    await renewals.close()


class Desk:
    """A ``Renewals`` that looks when the test says so, and the calls that it made."""

    def __init__(self, admitter: Admitter, time: TimedStore) -> None:
        self.admitter = admitter
        self.clock = ManualClock()
        self.sleeps = 0
        self.renewals = Renewals(admitter, clock=self.clock, sleep=self._sleep)
        self._time = time

    async def _sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await asyncio.Event().wait()

    async def begin(self, ask: Ask) -> Admission:
        admission = await self.admitter.admit(NO_LIMITS, ALICE, None, ask)
        assert admission.verdict is Verdict.ADMITTED
        self.renewals.add(admission)
        return admission

    async def calls_of_a_look(self, *, later_s: float) -> int:
        """How often a look asks the store."""
        self.clock.advance(later_s)
        before = len(self._time.calls)
        await self.renewals.renew_due()
        return len(self._time.calls) - before


@pytest.fixture
async def desk(store: ValkeyClient) -> AsyncIterator[Desk]:
    desk = Desk(*await timed(store))
    yield desk
    await desk.renewals.close()


NINE_SECONDS = Ask(slots=(slot(9, lease_ms=9000),))


class TestLooks:
    async def test_a_lease_is_renewed_after_each_third_of_it(self, desk: Desk) -> None:
        await desk.begin(NINE_SECONDS)
        looks = [await desk.calls_of_a_look(later_s=1) for _ in range(7)]
        assert looks == [0, 0, 1, 0, 0, 1, 0]

    async def test_a_lease_that_began_between_two_looks_counts_from_the_first_of_them(
        self, desk: Desk
    ) -> None:
        await desk.begin(NINE_SECONDS)
        assert await desk.calls_of_a_look(later_s=1) == 0
        desk.clock.advance(0.2)
        await desk.begin(NINE_SECONDS)
        looks = [await desk.calls_of_a_look(later_s=later_s) for later_s in (0.8, 1, 1, 1, 1)]
        assert looks == [0, 1, 1, 0, 1]

    async def test_work_that_ended_is_not_renewed(self, desk: Desk) -> None:
        first, second = [await desk.begin(NINE_SECONDS) for _ in range(2)]
        desk.renewals.discard(first)
        assert await desk.calls_of_a_look(later_s=3) == 1
        desk.renewals.discard(second)
        desk.renewals.discard(second)
        assert await desk.calls_of_a_look(later_s=30) == 0

    async def test_work_without_leases_starts_nothing(self, desk: Desk) -> None:
        await desk.begin(Ask())
        await asyncio.sleep(0)
        assert desk.sleeps == 0
        await desk.begin(NINE_SECONDS)
        await asyncio.sleep(0)
        assert desk.sleeps == 1
