"""A caller who goes while ADMIT is asked: what it takes for him all the same is given back, as nobody else is left to end it."""

import asyncio

import pytest

from app.core.policies import Admitter, Ask
from app.core.resilience import SystemClock
from app.core.valkey import ValkeyClient
from tests.core.policies.asking import ACCOUNT, ALICE, LIMITED, NO_LIMITS, claim, fund, hold, lookup, slot

pytestmark = pytest.mark.usefixtures("clean_store")
STEPS = 40
"""Turns of the event loop after which he goes; the answer takes some of them."""


@pytest.mark.parametrize("clustered", [False, True])
async def test_nothing_of_it_stays(store: ValkeyClient, *, clustered: bool) -> None:
    admitter = Admitter(store, clock=SystemClock(), clustered=clustered)
    ask = Ask(claim=claim(), lookup=lookup(), slots=(slot(),), hold=hold())
    outcomes = set[bool]()
    for step in range(STEPS):
        await fund(store, 5)
        task = asyncio.create_task(admitter.admit(LIMITED, ALICE, None, ask))
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        outcomes.add(task.cancelled())
        if not task.cancelled():
            await admitter.abort(task.result())
        await admitter.close()
        left = await store.execute("KEYS", "{u:alice}:v1:[ise]:*")
        assert (left, await store.execute("HGET", ACCOUNT, "h")) == ([], b"0"), step
    assert True in outcomes


async def test_the_next_one_is_let_in_at_once(store: ValkeyClient) -> None:
    admitter = Admitter(store, clock=SystemClock())
    ask = Ask(claim=claim(), slots=(slot(),))
    task = asyncio.create_task(admitter.admit(NO_LIMITS, ALICE, None, ask))
    for _ in range(2):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert (await admitter.admit(NO_LIMITS, ALICE, None, ask)).allowed
