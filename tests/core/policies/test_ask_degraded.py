"""Without the store: what is refused with 503, what goes on in this process, and that an outage is never 402."""

import asyncio
from collections.abc import Sequence

import pytest

from app.core.policies import (
    Admitter,
    Ask,
    CreditsUnavailable,
    IdempotencyUnavailable,
    LimitUnavailable,
    Plan,
    RateLimit,
    Settled,
    Verdict,
)
from app.core.resilience import ManualClock, SystemClock
from app.core.valkey import Script, StoreDown, ValkeyClient
from tests.core.policies.asking import (
    ALICE,
    FAR,
    NO_LIMITS,
    claim,
    fund,
    hold,
    lookup,
    quota,
    slot,
    timed,
)

END_MS = 4_000_000_000_000


class Broken:
    """What the client raises during an outage."""

    async def submit(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> bytes:
        raise StoreDown("gone")

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, timeout_s: float
    ) -> bytes:
        raise StoreDown("gone")


def broken(replicas: int = 1) -> Admitter:
    return Admitter(Broken(), clock=ManualClock(), replicas=replicas)


async def passed(admitter: Admitter, times: int, ask: Ask) -> int:
    return sum([(await admitter.admit(NO_LIMITS, ALICE, None, ask)).allowed for _ in range(times)])


class TestRefused:
    async def test_a_key_is_not_run_unguarded(self) -> None:
        with pytest.raises(IdempotencyUnavailable) as caught:
            await broken().admit(NO_LIMITS, ALICE, None, Ask(claim()))
        assert (caught.value.status, caught.value.extensions["reason"]) == (503, "store_unavailable")

    async def test_credits_are_503_and_never_402(self) -> None:
        with pytest.raises(CreditsUnavailable) as caught:
            await broken().admit(NO_LIMITS, ALICE, None, Ask(hold=hold()))
        assert caught.value.extensions["reason"] == "store_unavailable"

    async def test_a_closed_quota_is_503(self) -> None:
        with pytest.raises(LimitUnavailable):
            await broken().admit(
                NO_LIMITS, ALICE, None, Ask(allowances=(quota(end_ms=END_MS, on_store_down="closed"),))
            )


class TestGoesOn:
    async def test_credits_in_shadow_and_credits_of_nothing_refuse_nobody(self) -> None:
        for free in (hold(shadow=True), hold(0)):
            answer = await broken().admit(NO_LIMITS, ALICE, None, Ask(hold=free))
            assert answer.allowed

    async def test_a_cached_answer_is_computed_by_whoever_comes(self) -> None:
        answer = await broken().admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))
        assert (answer.allowed, answer.degraded, answer.is_leader) == (True, True, False)

    async def test_an_open_circuit_stays_open(self) -> None:
        answer = await broken().admit(NO_LIMITS, ALICE, None, Ask(circuit_open=True))
        assert (answer.verdict, answer.refusal().status) == (Verdict.OPEN, 503)

    @pytest.mark.parametrize(("replicas", "room"), [(1, 3), (2, 1), (10, 1)])
    async def test_slots_are_counted_here_and_come_back_once(self, replicas: int, room: int) -> None:
        admitter, ask = broken(replicas), Ask(slots=(slot(3),))
        answers = [await admitter.admit(NO_LIMITS, ALICE, None, ask) for _ in range(5)]
        assert sum(answer.allowed for answer in answers) == room
        for _ in range(2):
            assert await admitter.settle(answers[0]) == Settled()
            await admitter.abort(answers[0])
        assert await passed(admitter, 5, ask) == 1
        admitter.settle_soon(answers[1] if room > 1 else answers[0])
        assert await passed(admitter, 5, ask) == (1 if room > 1 else 0)

    async def test_open_slots_and_quotas_let_all_pass(self) -> None:
        ask = Ask(
            allowances=(quota(1, end_ms=END_MS, on_store_down="open"),),
            slots=(slot(1, on_store_down="open"),),
        )
        assert await passed(broken(), 5, ask) == 5

    async def test_a_quota_that_was_never_heard_of_starts_with_this_processs_part(self) -> None:
        assert await passed(broken(replicas=2), 20, Ask(allowances=(quota(10, end_ms=END_MS),))) == 5

    async def test_a_quota_goes_on_from_what_was_left_and_forgets_its_own_count_afterwards(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        _, time = await timed(store)
        admitter = Admitter(time, clock=SystemClock(), replicas=2)
        ask = Ask(allowances=(quota(10, end_ms=END_MS),))
        assert await passed(admitter, 4, ask) == 4
        time.down = True
        assert await passed(admitter, 10, ask) == 3  # half of the 6 that were left
        time.down = False
        assert await passed(admitter, 10, ask) == 6

    async def test_a_quota_that_was_used_up_stays_used_up(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        admitter, time = await timed(store)
        ask = Ask(allowances=(quota(2, end_ms=END_MS),))
        assert await passed(admitter, 3, ask) == 2
        time.down = True
        assert await passed(admitter, 3, ask) == 0

    async def test_a_failed_request_gives_its_local_quota_back_once(self) -> None:
        admitter, ask = broken(), Ask(allowances=(quota(2, end_ms=END_MS),))
        first = await admitter.admit(NO_LIMITS, ALICE, None, ask)
        for _ in range(3):
            await admitter.abort(first)
        assert await passed(admitter, 5, ask) == 2

    async def test_a_refusal_here_leaves_admit_limits_alone_and_charges_attempts(self) -> None:
        plan = Plan(
            "orders",
            [
                RateLimit.fixed_window("attempts", limit=9, window=FAR),
                RateLimit.fixed_window("admitted", limit=9, window=FAR, charge="admit"),
            ],
        )
        admitter = broken()
        refused = await admitter.admit(plan, ALICE, None, Ask(slots=(slot(1), slot(0, name="none"))))
        assert refused.verdict is Verdict.BUSY
        ask = Ask(slots=(slot(1),))
        admitted = await admitter.admit(plan, ALICE, None, ask)
        assert [state.remaining for state in admitted.states] == [7, 8]

    async def test_a_used_up_local_limit_is_429_and_takes_no_slot(self) -> None:
        plan = Plan("orders", [RateLimit.fixed_window("one", limit=1, window=FAR)])
        admitter, ask = broken(), Ask(slots=(slot(1),))
        first = await admitter.admit(plan, ALICE, None, ask)
        await admitter.settle(first)
        assert (await admitter.admit(plan, ALICE, None, ask)).verdict is Verdict.LIMITED
        assert (await admitter.admit(NO_LIMITS, ALICE, None, ask)).allowed

    async def test_nothing_is_extended_or_sent(self) -> None:
        admitter = broken()
        answer = await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(),)))
        assert await admitter.extend(answer, 1000)


class TestOutageInBetween:
    async def test_what_was_taken_before_is_given_up_quietly_and_reported(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        told: list[Settled] = []
        _, time = await timed(store)
        await fund(store, 5)
        admitter = Admitter(time, clock=SystemClock(), on_settled=lambda _, settled: told.append(settled))
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim(), slots=(slot(),), hold=hold()))
        time.down = True
        admitter.settle_soon(first, b"result")
        assert await admitter.settle(first, b"result") == Settled(is_lost=True)
        await asyncio.gather(admitter.abort(first), admitter.close())
        assert told == [Settled(is_lost=True)] * 3
