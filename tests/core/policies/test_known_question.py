"""A question that is made once is decided like one that is put together each time: on a real store, with tokens to prove."""

import time

import pytest

from app.core.policies import Admitter, Ask, EpochBook, Epochs, KnownQuestion, Plan, RateLimit, Verdict
from app.core.resilience import ManualClock
from app.core.valkey import ValkeyClient
from tests.core.policies.asking import FAR, lookup
from tests.core.policies.test_epochs import EPOCH, GRACE_S, Source, alice

pytestmark = pytest.mark.usefixtures("clean_store")
PLAN = Plan("orders", [RateLimit.fixed_window("attempts", limit=100, window=FAR)])
CLOSED = Plan("orders", [RateLimit.fixed_window("attempts", limit=100, window=FAR, on_store_down="closed")])
GLANCE = Ask(lookup=lookup(lease_ms=0))


class Door:
    """An admitter that proves tokens, before a store that holds a fresh answer."""

    def __init__(self, store: ValkeyClient) -> None:
        clock = ManualClock(100.0)
        self.store, self.source = store, Source()
        self.admitter = Admitter(store, clock=clock)
        self.admitter.prove_tokens(Epochs(store, self.source, clock=clock, grace_s=GRACE_S))

    async def known(self, plan: Plan = PLAN) -> KnownQuestion | None:
        """The question after it was asked in the usual way."""
        admission = await self.admitter.admit(plan, alice(), None, GLANCE)
        assert admission.verdict is Verdict.FRESH
        return self.admitter.known(admission, alice())


@pytest.fixture
async def door(store: ValkeyClient) -> Door:
    now = int(time.time() * 1000)
    entry = b"%d %d %d 0 -\nbody" % (now - 9000, now + 900_000, now + 900_000)
    await store.execute("SET", lookup().key, entry)
    return Door(store)


async def test_it_is_charged_and_answered_and_each_time_another_request(door: Door) -> None:
    question = await door.known()
    assert question is not None
    told = [await door.admitter.admit_known(question) for _ in range(3)]
    assert [(said.verdict, said.tail[-4:]) for said in told] == [(Verdict.FRESH, b"body")] * 3
    assert [next(said.states).remaining for said in told] == [98, 97, 96]
    assert len({said.rid for said in told}) == 3


async def test_it_asks_for_the_token_each_time(door: Door) -> None:
    question = await door.known()
    assert question is not None
    await door.store.execute("DEL", EPOCH)
    assert (await door.admitter.admit_known(question)).verdict is Verdict.FRESH
    assert door.source.asked == ["alice", "alice"], "nobody knew, so it was loaded"
    await EpochBook(door.store, grace_s=GRACE_S).end_sessions("alice", ["one"])
    assert (await door.admitter.admit_known(question)).verdict is Verdict.REVOKED


async def test_one_without_the_token_it_should_have_is_not_remembered(door: Door) -> None:
    door.source.is_down = True  # in the time of grace the token is not asked about
    assert await door.known() is None
    door.source.is_down = False
    assert await door.known() is not None


async def test_one_that_waits_longer_or_goes_to_many_slots_is_not_remembered(door: Door) -> None:
    assert await door.known(CLOSED) is None
    admission = await door.admitter.admit(PLAN, alice(), None, GLANCE)
    door.admitter.use_slots()
    assert door.admitter.known(admission, alice()) is None
