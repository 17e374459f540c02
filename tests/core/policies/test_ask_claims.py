"""Idempotency keys in ADMIT and SETTLE: claimed once, replayed, taken over, fenced."""

from collections import Counter

import pytest

from app.core.policies import (
    Admitter,
    Ask,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    Plan,
    RateLimit,
    Settled,
    Verdict,
)
from app.core.resilience import SystemClock
from app.core.valkey import ValkeyClient
from tests.core.policies.asking import (
    ALICE,
    FAR,
    LIMITED,
    NO_LIMITS,
    ask_times,
    claim,
    fund,
    hold,
    lives,
    quota,
    slot,
    timed,
)

pytestmark = pytest.mark.usefixtures("clean_store")


async def verdict_of(admitter: Admitter, ask: Ask) -> Verdict:
    return (await admitter.admit(NO_LIMITS, ALICE, None, ask)).verdict


class TestClaim:
    async def test_of_fifty_at_once_one_is_admitted_and_the_others_are_told_to_wait(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        answers = await ask_times(admitter, 50, Ask(claim()))
        assert Counter(answer.verdict for answer in answers) == {Verdict.ADMITTED: 1, Verdict.IN_FLIGHT: 49}
        refused = next(answer for answer in answers if not answer.allowed)
        assert 0 < refused.wait_s <= 10
        error = refused.refusal(lambda: 0.0)
        assert isinstance(error, IdempotencyKeyInUse)
        assert (error.status, error.retry_after, refused.cause_name) == (409, 10, "idempotency")

    async def test_a_settled_claim_is_replayed_byte_by_byte(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        blob = bytes(range(256)) * 4096
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        assert first.generation == 1
        settled = await admitter.settle(first, blob)
        assert (settled.is_fenced, settled.is_late, settled.is_lost) == (False, False, False)
        answers = await ask_times(admitter, 5, Ask(claim()))
        assert {(answer.verdict, answer.tail) for answer in answers} == {(Verdict.REPLAY, blob)}

    async def test_another_request_under_the_key_is_a_mismatch_while_pending_and_when_done(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        pending = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim(fingerprint="other")))
        await admitter.settle(first, b"result")
        done = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim(fingerprint="other")))
        assert (pending.verdict, done.verdict) == (Verdict.MISMATCH, Verdict.MISMATCH)
        assert isinstance(done.refusal(), IdempotencyKeyReused)
        assert done.tail == b""

    async def test_an_aborted_claim_may_be_made_again_and_a_kept_one_not(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await admitter.abort(await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim())))
        again = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        assert again.allowed
        await admitter.abort(again, keep_claim=True)
        assert await verdict_of(admitter, Ask(claim())) is Verdict.IN_FLIGHT

    async def test_settling_without_a_result_gives_the_key_up(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await admitter.settle(await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim())), None)
        assert not [key for key in await lives(store) if ":i:" in key]

    async def test_a_refusal_later_in_the_order_leaves_no_claim(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await fund(store, 0)
        for refusing, verdict in [
            (Ask(claim(), hold=hold()), Verdict.NO_CREDIT),
            (Ask(claim(), allowances=(quota(0, end_ms=time.now_ms + 1),)), Verdict.QUOTA),
            (Ask(claim(), slots=(slot(0),)), Verdict.BUSY),
            (Ask(claim(), circuit_open=True), Verdict.OPEN),
        ]:
            assert await verdict_of(admitter, refusing) is verdict
        assert not [key for key in await lives(store) if ":i:" in key]

    async def test_a_used_up_attempt_limit_tells_nothing_about_the_key(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        plan = Plan("orders", [RateLimit.fixed_window(limit=2, window=FAR)])
        await admitter.settle(await admitter.admit(plan, ALICE, None, Ask(claim())), b"result")
        verdicts = [(await admitter.admit(plan, ALICE, None, Ask(claim()))).verdict for _ in range(2)]
        assert verdicts == [Verdict.REPLAY, Verdict.LIMITED]

    @pytest.mark.parametrize(("replay_cost", "left"), [(0, 999), (1, 998)])
    async def test_a_replay_is_charged_to_attempt_limits_if_it_costs(
        self, store: ValkeyClient, replay_cost: int, left: int
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        ask = Ask(claim(replay_cost=replay_cost))
        await admitter.settle(await admitter.admit(LIMITED, ALICE, None, ask), b"result")
        replay = await admitter.admit(LIMITED, ALICE, None, ask)
        assert (replay.verdict, next(replay.states).remaining) == (Verdict.REPLAY, left)

    async def test_polling_a_key_in_flight_costs_attempts(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await ask_times(admitter, 5, Ask(claim()), LIMITED)
        assert next((await admitter.admit(LIMITED, ALICE, None, Ask(claim()))).states).remaining == 994

    async def test_a_word_that_would_break_the_record_is_refused(self, store: ValkeyClient) -> None:
        with pytest.raises(ValueError, match="one word"):
            await Admitter(store, clock=SystemClock()).admit(
                NO_LIMITS, ALICE, None, Ask(claim(fingerprint="a b"))
            )


class TestExpiredClaim:
    async def test_before_its_lease_ends_it_is_in_flight_and_from_then_on_it_is_taken_over(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        assert await verdict_of(admitter, Ask(claim())) is Verdict.ADMITTED
        await time.at(9.999)
        assert await verdict_of(admitter, Ask(claim())) is Verdict.IN_FLIGHT
        await time.at(10)
        again = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        assert (again.verdict, again.generation) == (Verdict.ADMITTED, 2)

    async def test_where_it_must_not_run_again_its_outcome_is_unknown(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim(rerun=False)))
        await time.at(11)
        unknown = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim(rerun=False)))
        assert unknown.verdict is Verdict.UNKNOWN
        error = unknown.refusal()
        assert (error.status, error.extensions["reason"], "Retry-After" in error.headers) == (
            409, "outcome_unknown", False,
        )  # fmt: skip

    async def test_a_zombie_neither_overwrites_nor_deletes(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        zombie = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        await time.at(11)
        heir = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        assert (await admitter.settle(zombie, b"late")).is_fenced
        assert (await admitter.abort(zombie)).is_fenced
        assert await verdict_of(admitter, Ask(claim())) is Verdict.IN_FLIGHT
        assert not (await admitter.settle(heir, b"result")).is_fenced
        assert (await admitter.settle(zombie, b"late")).is_fenced
        assert (await admitter.abort(zombie)).is_fenced
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))).tail == b"result"

    async def test_an_extended_claim_is_not_taken_over_and_a_lost_one_cannot_be_extended(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        await time.at(9)
        assert await admitter.extend(first, 10_000)
        await time.at(18)
        assert await verdict_of(admitter, Ask(claim())) is Verdict.IN_FLIGHT
        await time.at(20)
        assert await verdict_of(admitter, Ask(claim())) is Verdict.ADMITTED
        assert not await admitter.extend(first, 10_000)

    async def test_the_record_outlives_the_lease_by_the_retention(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim(retention_ms=60_000)))
        pending = await lives(store)
        await admitter.settle(first, b"result")
        for life in (*pending.values(), *(await lives(store)).values()):
            assert 0 < life <= 60_000


class TestLostAnswers:
    async def test_a_lost_admission_is_asked_for_again_and_claims_once(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        time.lose = 1
        first = await admitter.admit(LIMITED, ALICE, None, Ask(claim()))
        assert (first.verdict, first.generation, len(time.calls)) == (Verdict.ADMITTED, 1, 2)
        assert next(first.states).remaining == 999

    async def test_a_lost_replay_is_read_again(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await admitter.settle(await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim())), b"a\nb\n\n")
        time.lose = 1
        assert (await admitter.admit(LIMITED, ALICE, None, Ask(claim()))).tail == b"a\nb\n\n"

    async def test_a_lost_replay_whose_record_is_gone_is_a_new_request(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await admitter.settle(await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim())), b"result")

        async def forget() -> None:
            await store.execute("DEL", claim().key)

        time.lose, time.when_lost = 1, forget
        again = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        assert (again.verdict, again.generation) == (Verdict.ADMITTED, 1)

    async def test_a_lost_settlement_is_sent_again(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        time.lose = 1
        settled = await admitter.settle(first, b"result")
        assert (settled.is_fenced, settled.is_lost) == (False, False)
        assert await verdict_of(admitter, Ask(claim())) is Verdict.REPLAY

    async def test_a_settlement_that_is_lost_twice_is_reported_and_not_raised(
        self, store: ValkeyClient
    ) -> None:
        told: list[tuple[str, bool]] = []
        _, time = await timed(store)
        admitter = Admitter(
            time, clock=SystemClock(), on_settled=lambda policy, s: told.append((policy, s.is_lost))
        )
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim()))
        time.lose = 2
        assert (await admitter.settle(first, b"result")).is_lost
        assert told == [("orders", True)]

    async def test_an_admission_that_is_given_up_leaves_nothing_behind(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        time.lose = 2
        with pytest.raises(IdempotencyUnavailable):
            await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim(), slots=(slot(),)))
        await admitter.close()
        assert not [key for key in await lives(store) if ":i:" in key or ":s:" in key]

    async def test_an_admission_that_runs_after_it_was_given_up_takes_nothing(
        self, store: ValkeyClient
    ) -> None:
        _, time = await timed(store)
        told: list[Settled] = []
        admitter = Admitter(time, clock=SystemClock(), on_settled=lambda _, settled: told.append(settled))
        time.delay = 1
        with pytest.raises(IdempotencyUnavailable):
            await admitter.admit(NO_LIMITS, ALICE, None, Ask(claim(), slots=(slot(),)))
        await admitter.close()
        assert [reply[:3] for reply in await time.run_late()] == [b"-1 "]
        assert told == []
        assert not [key for key in await lives(store) if ":i:" in key or ":s:" in key]
