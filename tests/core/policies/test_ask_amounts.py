"""Quotas, slots and credits in ADMIT: all or nothing, exact under concurrency, given back once."""

from collections import Counter

import pytest

from app.core.policies import (
    Admitter,
    Ask,
    Balance,
    CreditsHeld,
    CreditsUnavailable,
    InsufficientCredits,
    NoCapacity,
    Plan,
    QuotaExceeded,
    RateLimit,
    Settled,
    TooManyInFlight,
    Verdict,
)
from app.core.resilience import SystemClock
from app.core.valkey import ValkeyClient
from tests.core.policies.asking import (
    ACCOUNT,
    ALICE,
    CREDIT,
    FAR,
    HOUR_MS,
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
ADMIT_LIMIT = RateLimit.fixed_window("once", limit=5, window=FAR, charge="admit")


async def account(store: ValkeyClient) -> dict[str, str]:
    flat = [part.decode() for part in await store.execute("HGETALL", ACCOUNT)]
    return dict(zip(flat[::2], flat[1::2], strict=True))


class TestQuota:
    async def test_exactly_the_allowance_passes_and_the_rest_learns_when_the_period_ends(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        ask = Ask(allowances=(quota(10, end_ms=time.now_ms + HOUR_MS),))
        answers = await ask_times(admitter, 30, ask)
        assert Counter(a.verdict for a in answers) == {Verdict.ADMITTED: 10, Verdict.QUOTA: 20}
        refused = next(a for a in answers if not a.allowed)
        error = refused.refusal(lambda: 1.0)
        assert isinstance(error, QuotaExceeded)
        assert (error.status, error.violated, error.retry_after) == (429, ("day",), 3660)
        assert error.type.endswith("quota-exceeded")

    async def test_an_abort_gives_it_back_once_and_a_settlement_does_not(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        ask = Ask(allowances=(quota(10, end_ms=time.now_ms + HOUR_MS, cost=3),))
        first, second = await ask_times(admitter, 2, ask)
        await admitter.abort(first)
        await admitter.abort(first)
        await admitter.settle(second)
        key = ask.allowances[0].key
        assert await store.execute("GET", key) == b"3"
        assert 0 < await store.execute("PTTL", key) <= HOUR_MS

    async def test_what_is_given_back_after_the_period_changes_nothing(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        ask = Ask(allowances=(quota(10, end_ms=time.now_ms + HOUR_MS),))
        first = await admitter.admit(NO_LIMITS, ALICE, None, ask)
        await store.execute("DEL", ask.allowances[0].key)
        await admitter.abort(first)
        assert await store.execute("EXISTS", ask.allowances[0].key) == 0

    async def test_a_period_that_is_over_by_the_stores_clock_is_asked_for_again_and_nothing_is_charged(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        over = Ask(allowances=(quota(10, end_ms=time.now_ms),), slots=(slot(),))
        answer = await admitter.admit(LIMITED, ALICE, None, over)
        assert answer.verdict is Verdict.CLOCK
        assert await lives(store) == {}
        right = Ask(allowances=(quota(10, end_ms=time.now_ms + 1000),))
        again = await admitter.admit(LIMITED, ALICE, None, right, again=answer)
        assert (again.verdict, next(again.states).remaining) == (Verdict.ADMITTED, 999)

    async def test_the_stores_time_is_known_after_the_first_answer(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await admitter.learn_time()
        assert abs(admitter.server_time_ms() - time.now_ms) < 5000

    async def test_a_cost_of_zero_passes_an_allowance_that_is_used_up(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        look = Ask(allowances=(quota(0, end_ms=time.now_ms + HOUR_MS, cost=0),))
        assert (await admitter.admit(NO_LIMITS, ALICE, None, look)).allowed

    async def test_in_shadow_it_is_recorded_and_does_not_refuse(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        ask = Ask(allowances=(quota(0, end_ms=time.now_ms + HOUR_MS, shadow=True),))
        answer = await admitter.admit(NO_LIMITS, ALICE, None, ask)
        assert (answer.verdict, answer.shadowed, answer.violated) == (Verdict.ADMITTED, ("day",), ())
        await admitter.abort(answer)
        assert await store.execute("EXISTS", ask.allowances[0].key) == 0

    async def test_more_than_lua_can_count_is_refused(self, store: ValkeyClient) -> None:
        with pytest.raises(ValueError, match="too large"):
            await Admitter(store, clock=SystemClock()).admit(
                NO_LIMITS, ALICE, None, Ask(allowances=(quota(2**53, end_ms=2**50),))
            )


class TestSlots:
    async def test_as_many_as_there_are_slots_are_in_flight_and_a_freed_one_is_taken_again(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        answers = await ask_times(admitter, 10, Ask(slots=(slot(3),)))
        taken = [a for a in answers if a.allowed]
        assert len(taken) == 3
        await admitter.settle(taken[0])
        await admitter.settle(taken[0])
        again = await ask_times(admitter, 5, Ask(slots=(slot(3),)))
        assert sum(a.allowed for a in again) == 1

    async def test_a_crash_frees_its_slot_when_the_lease_ends_and_not_before(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        ask = Ask(slots=(slot(1),))
        passed = []
        for second in (0, 9.999, 10):
            await time.at(second)
            passed.append((await admitter.admit(NO_LIMITS, ALICE, None, ask)).allowed)
        assert passed == [True, False, True]
        assert await store.execute("ZCARD", ask.slots[0].key) == 1

    async def test_a_renewed_lease_keeps_its_slot_and_one_that_is_over_cannot_be_brought_back(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        ask = Ask(slots=(slot(1),))
        first = await admitter.admit(NO_LIMITS, ALICE, None, ask)
        await time.at(9)
        assert await admitter.extend(first, 10_000, until_ms=time.now_ms + 6000)
        await time.at(14)
        assert not (await admitter.admit(NO_LIMITS, ALICE, None, ask)).allowed
        await time.at(15)
        assert not await admitter.extend(first, 10_000)
        assert (await admitter.admit(NO_LIMITS, ALICE, None, ask)).allowed
        late = await admitter.settle(first)
        assert late.is_late

    async def test_a_lowered_maximum_counts_at_once(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        first, *_ = await ask_times(admitter, 5, Ask(slots=(slot(5),)))
        await admitter.settle(first)
        assert not (await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(3),)))).allowed

    async def test_the_set_outlives_its_longest_lease(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        for lease_ms in (50_000, 10_000):
            await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(5, lease_ms),)))
        assert 49_000 < (await lives(store))[slot().key] <= 50_001

    async def test_leases_that_are_over_are_removed_a_hundred_at_a_time(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await ask_times(admitter, 250, Ask(slots=(slot(250),)))
        await time.at(11)
        sizes = []
        for _ in range(3):
            assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(10),)))).allowed
            sizes.append(await store.execute("ZCARD", slot().key))
        assert sizes == [151, 52, 3]

    @pytest.mark.parametrize(
        ("scope", "kind", "status"),
        [("user", TooManyInFlight, 429), ("tenant", TooManyInFlight, 429), ("route", NoCapacity, 503), ("global", NoCapacity, 503)],
    )  # fmt: skip
    async def test_the_callers_own_are_429_and_the_services_503(
        self, store: ValkeyClient, scope: str, kind: type[Exception], status: int
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        busy = await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(0, scope=scope),)))
        error = busy.refusal()
        assert isinstance(error, kind)
        assert (error.status, busy.cause_name) == (status, "at_once")
        assert error.extensions["violated-policies"] == ["at_once"]
        assert 1 <= int(error.headers["Retry-After"]) <= 3

    async def test_in_shadow_none_is_taken_beyond_the_maximum_and_nobody_refused(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        answers = await ask_times(admitter, 3, Ask(slots=(slot(2, shadow=True),)))
        assert all(a.allowed for a in answers)
        assert sorted(a.shadowed for a in answers) == [(), (), ("at_once",)]
        for answer in answers:
            assert not (await admitter.settle(answer)).is_late


class TestCredits:
    async def test_of_a_hundred_holds_on_a_balance_for_ten_ten_are_admitted(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await fund(store, 20)
        answers = await ask_times(admitter, 100, Ask(hold=hold(2)))
        assert Counter(a.verdict for a in answers) == {Verdict.ADMITTED: 10, Verdict.HELD: 90}
        assert (await account(store))["h"] == str(20 * CREDIT)
        held = next(a for a in answers if not a.allowed).refusal()
        assert isinstance(held, CreditsHeld)
        assert held.extensions["reason"] == "credits_held"
        assert "Retry-After" in held.headers

    async def test_too_little_is_402_with_what_is_needed_and_there(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock(), top_up_url="https://example.com/credits")
        await fund(store, 1)
        error = (await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(2)))).refusal()
        assert isinstance(error, InsufficientCredits)
        assert {name: error.extensions[name] for name in ("required", "available", "top_up_url")} == {
            "required": 2, "available": 1, "top_up_url": "https://example.com/credits",
        }  # fmt: skip
        assert "Retry-After" not in error.headers

    async def test_a_settlement_frees_the_hold_and_takes_a_newer_balance_over_once(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await fund(store, 10)
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(3, key="job")))
        (field,) = [value for name, value in (await account(store)).items() if name == f"r{first.rid}"]
        micro, _, key = field.split(" ")
        assert (micro, key) == ("3000000", "job")
        for _ in range(2):
            await admitter.settle(first, None, Balance(7 * CREDIT, 2))
        assert await account(store) == {"b": "7000000", "v": "2", "h": "0"}

    async def test_an_older_balance_is_not_taken_over(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await fund(store, 10, version=5)
        for version in (4, 5):
            first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(1)))
            await admitter.settle(first, None, Balance(0, version))
        assert (await account(store))["b"] == str(10 * CREDIT)

    async def test_an_abort_releases_it_and_a_kept_hold_stays_for_the_sweeper(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await fund(store, 10)
        first, second = await ask_times(admitter, 2, Ask(hold=hold(4)))
        await admitter.abort(first)
        await admitter.abort(second, keep_hold=True)
        assert (await account(store))["h"] == str(4 * CREDIT)

    async def test_a_settlement_with_a_debit_to_come_frees_the_slot_and_leaves_the_hold(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await fund(store, 1)
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(1),), hold=hold(1)))
        await admitter.settle(first, keep_hold=True)
        again = await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(1),), hold=hold(1)))
        assert again.verdict is Verdict.HELD
        await admitter.settle(first)
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(1)))).allowed

    async def test_an_expired_hold_still_counts(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await fund(store, 1)
        await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(1)))
        await time.at(3600)
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(1)))).verdict is Verdict.HELD

    async def test_an_account_that_is_not_there_charges_nothing_and_leaves_nothing(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        cold = await admitter.admit(LIMITED, ALICE, None, Ask(hold=hold(1)))
        assert (cold.verdict, next(cold.states).remaining) == (Verdict.COLD, 1000)
        assert await lives(store) == {}
        await fund(store, 1)
        warm = await admitter.admit(LIMITED, ALICE, None, Ask(hold=hold(1)), again=cold)
        assert (warm.verdict, next(warm.states).remaining) == (Verdict.ADMITTED, 999)

    async def test_settling_a_hold_whose_account_was_evicted_does_not_bring_half_of_it_back(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await fund(store, 1)
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(1)))
        await store.execute("DEL", ACCOUNT)
        assert (await admitter.settle(first, None, Balance(5, 9))).is_late
        assert await store.execute("EXISTS", ACCOUNT) == 0

    async def test_a_hold_of_nothing_is_not_asked_for(self, store: ValkeyClient) -> None:
        free = await Admitter(store, clock=SystemClock()).admit(NO_LIMITS, ALICE, None, Ask(hold=hold(0)))
        assert free.allowed
        assert await store.execute("EXISTS", ACCOUNT) == 0

    async def test_sums_beyond_what_doubles_hold_exactly_are_not_granted(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await store.execute("HSET", ACCOUNT, "b", 2**62, "v", 1, "h", 2**53 - CREDIT)
        answers = [await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(1))) for _ in range(2)]
        assert [a.verdict for a in answers] == [Verdict.ADMITTED, Verdict.HELD]
        assert (await account(store))["h"] == str(2**53)
        with pytest.raises(ValueError, match=r"2\*\*53"):
            await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(10**10)))

    async def test_in_shadow_what_does_not_fit_is_recorded_and_not_held(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await fund(store, 1)
        poor = await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(2, shadow=True)))
        assert (poor.verdict, poor.shadowed) == (Verdict.ADMITTED, ("credits",))
        assert not (await admitter.settle(poor)).is_late
        assert (await account(store))["h"] == "0"


class TestTogether:
    async def test_all_that_refuse_are_named_and_the_first_decides(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await fund(store, 1)
        await admitter.admit(NO_LIMITS, ALICE, None, Ask(hold=hold(1)))
        plan = Plan("orders", [ADMIT_LIMIT])
        ask = Ask(allowances=(quota(0, end_ms=time.now_ms + HOUR_MS),), slots=(slot(0),), hold=hold(1))
        refused = await admitter.admit(plan, ALICE, (6,), ask)
        assert (refused.verdict, refused.cause_name) == (Verdict.LIMITED, "once")
        assert refused.violated == ("once", "day", "at_once", "credits")
        refused = await admitter.admit(plan, ALICE, (1,), ask)
        assert (refused.verdict, refused.cause_name) == (Verdict.QUOTA, "day")
        assert refused.wait_s == 3600.0

    async def test_too_few_credits_win_over_what_waiting_would_mend(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await fund(store, 0)
        ask = Ask(allowances=(quota(0, end_ms=time.now_ms + HOUR_MS),), slots=(slot(0),), hold=hold(1))
        refused = await admitter.admit(Plan("orders", [ADMIT_LIMIT]), ALICE, (6,), ask)
        assert (refused.verdict, refused.refusal().status) == (Verdict.NO_CREDIT, 402)
        assert refused.violated == ("once", "day", "at_once", "credits")

    async def test_a_refused_request_is_charged_attempts_and_nothing_else(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await fund(store, 10)
        plan = Plan("orders", [LIMITED.limits[0], ADMIT_LIMIT])
        ask = Ask(allowances=(quota(end_ms=time.now_ms + HOUR_MS),), slots=(slot(0),), hold=hold(1))
        refused = [await admitter.admit(plan, ALICE, None, ask) for _ in range(5)]
        assert [state.remaining for state in refused[-1].states] == [995, 5]
        assert (await account(store))["h"] == "0"
        assert not [key for key in await lives(store) if ":q:" in key or ":s:" in key or "once" in key]

    @pytest.mark.parametrize(
        "limit",
        [
            RateLimit.token_bucket("l", max_tokens=5, refill_rate=0.000_001, charge="admit"),
            RateLimit.fixed_window("l", limit=5, window=FAR, charge="admit"),
            RateLimit.sliding_window("l", limit=5, window=FAR, charge="admit"),
            RateLimit.debounce("l", interval=FAR, charge="admit"),
        ],
        ids=lambda limit: limit.algorithm,
    )
    async def test_an_abort_gives_admit_limits_back_once_but_never_a_debounce(
        self, store: ValkeyClient, limit: RateLimit
    ) -> None:
        admitter, time = await timed(store)
        plan = Plan("orders", [limit, LIMITED.limits[0]])
        cost = 1 if limit.algorithm == "debounce" else 2
        first = await admitter.admit(plan, ALICE, (cost, 1))
        for _ in range(2):
            await admitter.abort(first)
        look = await admitter.admit(plan, ALICE, (0, 0))
        left = [state.remaining for state in look.states]
        assert left == [0 if limit.algorithm == "debounce" else 5, 999]
        await time.at(1)
        assert all(life > 0 for life in (await lives(store)).values())

    async def test_what_a_window_took_is_given_back_to_it_when_it_has_become_the_previous_one(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        plan = Plan("orders", [RateLimit.sliding_window("l", limit=10, window=60, charge="admit")])
        await time.at(59)
        first = await admitter.admit(plan, ALICE, (10,))
        await time.at(60)
        assert not (await admitter.admit(plan, ALICE)).allowed
        await admitter.admit(plan, ALICE, (0,))
        await admitter.abort(first)
        # The state was last written in the first window: it is that window that the refund finds.
        assert next((await admitter.admit(plan, ALICE, (0,))).states).remaining == 10

    async def test_a_clock_that_goes_back_frees_nothing_early_and_locks_nobody_out(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        await time.at(3600)
        ask = Ask(claim(), slots=(slot(1),))
        first = await admitter.admit(NO_LIMITS, ALICE, None, ask)
        await time.at(0)
        assert (await admitter.admit(NO_LIMITS, ALICE, None, ask)).verdict is Verdict.IN_FLIGHT
        assert not (await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(1),)))).allowed
        assert await admitter.settle(first, b"result") == Settled()
        assert (await admitter.admit(NO_LIMITS, ALICE, None, ask)).tail == b"result"
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(1),)))).allowed

    async def test_a_settled_request_keeps_its_admit_limits_charged(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        plan = Plan("orders", [ADMIT_LIMIT])
        first = await admitter.admit(plan, ALICE, None, Ask(slots=(slot(),)))
        await admitter.settle(first)
        assert next((await admitter.admit(plan, ALICE, (0,))).states).remaining == 4

    async def test_a_refused_request_has_nothing_to_give_back(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        refused = await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(0),)))
        calls = len(time.calls)
        await admitter.abort(refused)
        await admitter.settle(refused)
        assert len(time.calls) == calls

    async def test_settle_soon_ends_it_without_being_waited_for(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        admitter.settle_soon(await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(1),))))
        await admitter.close()
        admitter.abort_soon(await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(1),))))
        await admitter.close()
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(1),)))).allowed

    async def test_a_wrong_type_under_any_key_writes_nothing_at_all(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await fund(store, 5)
        ask = Ask(allowances=(quota(end_ms=time.now_ms + HOUR_MS),), slots=(slot(),), hold=hold(1))
        for key in (ask.allowances[0].key, ask.slots[0].key):
            await store.execute("HSET", key, "not", "mine")
            before = await lives(store)
            with pytest.raises(CreditsUnavailable):
                await admitter.admit(LIMITED, ALICE, None, ask)
            await admitter.close()
            assert (await lives(store)).keys() == before.keys()
            await store.execute("DEL", key)
