"""Questions of callers who come again: byte by byte those that would be put together anew, and nobody else's."""

import itertools

import pytest
from libvalkey import pack_command

from app.core.context import Principal
from app.core.policies import (
    Admission,
    Admitter,
    Ask,
    Caller,
    Concurrency,
    Credits,
    JobConfig,
    Lookup,
    Plan,
    Quota,
    RateLimit,
    StandingQuestions,
    Terms,
)
from app.core.policies._admitter import ADMIT
from app.core.policies._asked import call_of
from app.core.resilience import ManualClock
from app.core.valkey import ValkeyClient
from tests.core.policies.asking import ALICE, claim, fund, lookup

pytestmark = pytest.mark.usefixtures("clean_store")
CONFIG = JobConfig(
    quota=Quota(per="day", limit=100),
    concurrency=Concurrency(max=10),
    credits=Credits(cost=1),
    rate_limit=RateLimit.token_bucket("user", max_tokens=50, refill_rate=1),
)


class Endpoint:
    """One with everything, and its callers."""

    def __init__(self, store: ValkeyClient) -> None:
        self.clock = ManualClock(1_800_000_000.0)
        self.admitter = Admitter(store, clock=self.clock)
        self.terms = Terms("work", CONFIG, plans=None, server_ms=lambda: int(self.clock.time() * 1000))
        self.plan = Plan("work", CONFIG.limits)
        self.standing = StandingQuestions(self.admitter, self.terms)
        self._keys = itertools.count()

    def new(self) -> Lookup:
        return lookup(f"e{next(self._keys)}")

    async def ask(self, about: Lookup | None, caller: Caller = ALICE) -> Admission:
        """In the usual way."""
        admission = await self.admitter.admit(
            self.plan, caller, None, await self.terms.ask(caller, lookup=about)
        )
        assert admission.allowed
        self.standing.keep(caller, admission)
        return admission


@pytest.fixture
async def endpoint(store: ValkeyClient) -> Endpoint:
    await fund(store, 1000)
    return Endpoint(store)


@pytest.mark.parametrize("has_answer", [True, False])
async def test_it_is_the_question_that_would_be_put_together(endpoint: Endpoint, has_answer: bool) -> None:
    first, second, third = (endpoint.new() if has_answer else None for _ in range(3))
    await endpoint.ask(first)
    assert await endpoint.standing.find(ALICE, second) is None, "most come once"
    await endpoint.ask(second)
    question = await endpoint.standing.find(ALICE, third)
    assert question is not None
    assert question.is_patient
    whole = Admission(
        question.plan, True, 0, (), False, "1f", keys=question.keys, costs=question.costs, ask=question.ask
    )
    names, values = call_of(whole)
    sent = question.call.packed("1f", question.entry, question.charge)
    assert sent == pack_command(("EVALSHA", ADMIT.sha, len(names), *names, *values))
    assert question.ask.lookup == third
    assert question.ask[3:5] == (await endpoint.terms.ask(ALICE))[3:5], "the same quotas and slots"


async def test_it_is_charged_and_has_a_lease_and_a_charge_of_its_own(endpoint: Endpoint) -> None:
    await endpoint.ask(endpoint.new())
    before = await endpoint.ask(endpoint.new())
    said = []
    for _ in range(3):
        question = await endpoint.standing.find(ALICE, endpoint.new())
        assert question is not None
        said.append(await endpoint.admitter.admit_known(question))
    told = [before, *said]
    assert all(one.allowed and one.is_leader for one in told)
    assert [one.available for one in told] == [before.available - n * 1_000_000 for n in range(4)]
    assert [one.answer.quotas[0][1] for one in told if one.answer is not None] == [98, 97, 96, 95]
    assert len({(one.rid, one.ask.hold.settlement_key) for one in told if one.ask.hold is not None}) == 4


async def test_it_is_nobody_elses_and_not_about_another_kind_of_request(endpoint: Endpoint) -> None:
    for _ in range(2):
        await endpoint.ask(endpoint.new())
    find, new = endpoint.standing.find, endpoint.new()
    assert await find(ALICE, new) is not None
    assert await find(Caller(Principal("alice"), ALICE.network), new) is None, "of another token"
    assert await find(Caller(ALICE.principal, "192.0.2.9"), new) is None
    assert await find(ALICE, None) is None, "a method that looks no answer up"
    assert await find(ALICE, new._replace(must_compute=True)) is None
    assert await find(ALICE, new._replace(tag_keys=("{t}:v1:t",))) is None
    endpoint.admitter.use_slots()
    assert await find(ALICE, new) is None


async def test_its_quotas_are_those_of_the_day(endpoint: Endpoint) -> None:
    for _ in range(2):
        await endpoint.ask(endpoint.new())
    endpoint.clock.advance(60)
    assert await endpoint.standing.find(ALICE, endpoint.new()) is not None
    endpoint.clock.advance(86_400)
    assert await endpoint.standing.find(ALICE, endpoint.new()) is None


async def test_what_is_asked_otherwise_is_not_remembered(endpoint: Endpoint) -> None:
    await endpoint.ask(endpoint.new())
    usual = await endpoint.ask(endpoint.new())
    claimed = usual._replace(ask=usual.ask._replace(claim=claim()))
    for other in (
        usual._replace(degraded=True),
        usual._replace(costs=(0,)),  # its attempt was charged before
        usual._replace(answer=None, ask=Ask()),
        usual._replace(ask=usual.ask.without_hold()),
        claimed,
    ):
        standing = StandingQuestions(endpoint.admitter, endpoint.terms)
        for _ in range(3):
            standing.keep(ALICE, other)
        assert await standing.find(ALICE, endpoint.new()) is None
