"""Leases of work in hand."""

import asyncio

import pytest

from app.core.policies import Ask, Renewals, Verdict
from app.core.resilience import ManualClock
from app.core.valkey import ValkeyClient
from tests.core.policies.asking import ALICE, NO_LIMITS, slot, timed

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
