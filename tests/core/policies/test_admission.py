"""ADMIT on a real Valkey: who passes, who is charged, and what is left behind."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence

import pytest

from app.core.context import Principal
from app.core.policies import (
    ADMIT,
    Admission,
    Admitter,
    AttemptLimit,
    Caller,
    LimitUnavailable,
    Plan,
    RateLimit,
    RateLimitExceeded,
)
from app.core.resilience import ManualClock, SystemClock
from app.core.valkey import Script, StoreDown, ValkeyClient

ALICE = Caller(Principal("alice"), "192.0.2.1")
BOB = Caller(Principal("bob"), "192.0.2.1")
HOUR = 3600.0

ALGORITHMS = [
    RateLimit.token_bucket(max_tokens=10, refill_rate=0.001),
    RateLimit.fixed_window(limit=10, window=86_400 * 300),
    RateLimit.sliding_window(limit=10, window=86_400 * 300),
    RateLimit.throttle(rate=1, per=HOUR),
    RateLimit.debounce(interval=HOUR),
]


@pytest.fixture
def admitter(store: ValkeyClient, clean_store: None) -> Admitter:
    return Admitter(store, clock=SystemClock())


def plan(*limits: RateLimit, policy: str = "orders") -> Plan:
    return Plan(policy, limits)


async def spend(admitter: Admitter, limits: Plan, times: int, caller: Caller = ALICE) -> Admission:
    for _ in range(times - 1):
        await admitter.admit(limits, caller)
    return await admitter.admit(limits, caller)


def remaining(admission: Admission) -> list[int]:
    return [state.remaining for state in admission.states]


class TestEachAlgorithm:
    @pytest.mark.parametrize("limit", ALGORITHMS, ids=lambda limit: limit.algorithm)
    async def test_exactly_the_quota_of_ten_times_as_many_at_once_passes(
        self, admitter: Admitter, limit: RateLimit
    ) -> None:
        quota = 1 if limit.algorithm in ("throttle", "debounce") else limit.quota
        answers = await asyncio.gather(*(admitter.admit(plan(limit), ALICE) for _ in range(10 * quota)))
        assert sum(answer.allowed for answer in answers) == quota

    @pytest.mark.parametrize("limit", ALGORITHMS, ids=lambda limit: limit.algorithm)
    async def test_one_caller_does_not_spend_anothers_quota(
        self, admitter: Admitter, limit: RateLimit
    ) -> None:
        await spend(admitter, plan(limit), 20)
        assert (await admitter.admit(plan(limit), BOB)).allowed

    @pytest.mark.parametrize("limit", ALGORITHMS, ids=lambda limit: limit.algorithm)
    async def test_every_key_that_is_written_has_a_life_time(
        self, admitter: Admitter, store: ValkeyClient, limit: RateLimit
    ) -> None:
        await spend(admitter, plan(limit), 12)
        keys = await store.execute("KEYS", "*")
        assert len(keys) == 13  # one bucket and a receipt for each call
        assert all([await store.execute("PTTL", key) > 0 for key in keys])

    @pytest.mark.parametrize("limit", ALGORITHMS, ids=lambda limit: limit.algorithm)
    async def test_a_refused_caller_learns_when_to_come_back(
        self, admitter: Admitter, limit: RateLimit
    ) -> None:
        refused = await spend(admitter, plan(limit), 11)
        assert not refused.allowed
        assert refused.cause_name == "user"
        assert refused.violated == ("user",)
        assert 0 < refused.wait_s <= limit.window * 2 + 1

    async def test_a_debounced_caller_waits_anew_after_every_attempt(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        limits = plan(RateLimit.debounce(interval=10))
        at = Timeline(store)
        assert (await at.admit(limits, 0)).allowed
        assert not (await at.admit(limits, 9)).allowed
        assert not (await at.admit(limits, 18)).allowed
        assert (await at.admit(limits, 28)).allowed

    async def test_a_throttled_caller_passes_once_per_interval(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        limits = plan(RateLimit.throttle(rate=2, per=20))
        at = Timeline(store)
        passed = [(await at.admit(limits, second)).allowed for second in (0, 1, 9, 10, 11, 20)]
        assert passed == [True, False, False, True, False, True]

    async def test_a_fixed_window_opens_again_exactly_at_its_end(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        limits = plan(RateLimit.fixed_window(limit=1, window=60))
        at = Timeline(store, start=1_800_000_000)  # a multiple of 60
        passed = [(await at.admit(limits, second)).allowed for second in (30, 59.999999, 60)]
        assert passed == [True, False, True]

    async def test_a_sliding_window_counts_what_is_left_of_the_previous_one(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        limits = plan(RateLimit.sliding_window(limit=10, window=60))
        at = Timeline(store, start=1_800_000_000)
        for _ in range(10):
            assert (await at.admit(limits, 59)).allowed
        assert not (await at.admit(limits, 60)).allowed  # 10 of 10 still weigh
        assert (await at.admit(limits, 66)).allowed  # 9 weigh
        assert not (await at.admit(limits, 66)).allowed

    async def test_an_idle_bucket_does_not_refill_early(self, store: ValkeyClient, clean_store: None) -> None:
        limits = plan(RateLimit.token_bucket(max_tokens=100, refill_rate=1))
        at = Timeline(store)
        for _ in range(100):
            assert (await at.admit(limits, 0)).allowed
        passed = [(await at.admit(limits, 2.1)).allowed for _ in range(3)]
        assert passed == [True, True, False]

    async def test_calls_of_the_same_microsecond_are_counted_one_by_one(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        for limit in (
            RateLimit.token_bucket("a", max_tokens=5, refill_rate=1),
            RateLimit.fixed_window("b", limit=5, window=60),
            RateLimit.sliding_window("c", limit=5, window=60),
        ):
            at = Timeline(store)
            assert sum([(await at.admit(plan(limit), 1)).allowed for _ in range(10)]) == 5

    @pytest.mark.parametrize("limit", ALGORITHMS, ids=lambda limit: limit.algorithm)
    async def test_a_clock_that_goes_back_locks_nobody_out_for_long(
        self, store: ValkeyClient, clean_store: None, limit: RateLimit
    ) -> None:
        at = Timeline(store)
        for _ in range(11):
            await at.admit(plan(limit), 400 * 86_400)
        refused = await at.admit(plan(limit), 0)
        assert not refused.allowed
        assert (await at.admit(plan(limit), refused.wait_s + 0.001)).allowed

    async def test_a_lowered_limit_takes_effect_at_once(self, store: ValkeyClient, clean_store: None) -> None:
        at = Timeline(store)
        for _ in range(100):
            await at.admit(plan(RateLimit.token_bucket(max_tokens=100, refill_rate=1)), 0)
        smaller = plan(RateLimit.token_bucket(max_tokens=5, refill_rate=1))
        assert not (await at.admit(smaller, 0)).allowed
        assert (await at.admit(smaller, 1)).allowed


class TestCost:
    async def test_a_cost_of_zero_looks_without_charging(
        self, admitter: Admitter, store: ValkeyClient
    ) -> None:
        looks = plan(RateLimit.token_bucket(max_tokens=2, refill_rate=0.001, cost=0))
        assert remaining(await spend(admitter, looks, 5)) == [2]
        assert len(await store.execute("KEYS", "*:l:*")) == 0

    async def test_a_look_at_an_exhausted_limit_passes(self, admitter: Admitter) -> None:
        limit = RateLimit.fixed_window(limit=1, window=HOUR * 24 * 300)
        await spend(admitter, plan(limit), 2)
        look = await admitter.admit(plan(limit), ALICE, (0,))
        assert look.allowed
        assert remaining(look) == [0]

    @pytest.mark.parametrize(
        ("algorithm", "window"),
        [("token_bucket", 10_000.0), ("fixed_window", HOUR * 8000), ("sliding_window", HOUR * 8000)],
    )
    async def test_the_whole_quota_may_be_spent_at_once_and_no_more(
        self, admitter: Admitter, algorithm: str, window: float
    ) -> None:
        limit = RateLimit(name="user", algorithm=algorithm, quota=10, window=window)  # type: ignore[arg-type]
        assert (await admitter.admit(plan(limit), ALICE, (10,))).allowed
        assert not (await admitter.admit(plan(limit), ALICE, (1,))).allowed
        never = await admitter.admit(plan(limit), BOB, (11,))
        assert not never.allowed
        assert next(iter(never.states)).retry_after == -1

    async def test_a_refused_weighted_call_does_not_sink_the_bucket(self, admitter: Admitter) -> None:
        limit = plan(RateLimit.token_bucket(max_tokens=5, refill_rate=0.001))
        await spend(admitter, limit, 4)
        for _ in range(10):
            assert not (await admitter.admit(limit, ALICE, (5,))).allowed
        assert (await admitter.admit(limit, ALICE, (1,))).allowed


class TestSeveralLimits:
    WIDE = RateLimit.token_bucket("wide", max_tokens=10, refill_rate=0.001)
    NARROW = RateLimit.fixed_window("narrow", limit=1, window=HOUR * 8000)

    async def test_a_refusal_leaves_an_admit_limit_untouched(self, admitter: Admitter) -> None:
        wide = RateLimit.token_bucket("wide", max_tokens=10, refill_rate=0.001, charge="admit")
        refused = await spend(admitter, plan(wide, self.NARROW), 5)
        assert not refused.allowed
        assert remaining(refused) == [9, 0]

    async def test_a_refusal_still_charges_an_attempt_limit(self, admitter: Admitter) -> None:
        refused = await spend(admitter, plan(self.WIDE, self.NARROW), 5)
        assert not refused.allowed
        assert remaining(refused) == [5, 0]

    async def test_all_violated_limits_are_named_and_the_longest_wait_counts(
        self, admitter: Admitter
    ) -> None:
        limits = plan(RateLimit.throttle("a", rate=1, per=100), RateLimit.throttle("b", rate=1, per=1000))
        refused = await spend(admitter, limits, 2)
        assert refused.violated == ("a", "b")
        assert refused.cause_name == "a"
        assert 900 < refused.wait_s <= 1000

    async def test_a_shadow_limit_records_and_does_not_refuse(self, admitter: Admitter) -> None:
        shadow = RateLimit.fixed_window("trial", limit=1, window=HOUR * 8000, shadow=True)
        admission = await spend(admitter, plan(self.WIDE, shadow), 3)
        assert admission.allowed
        assert admission.shadowed == ("trial",)
        assert remaining(admission)[0] == 7

    async def test_limits_of_different_scopes_are_counted_apart(self, admitter: Admitter) -> None:
        limits = plan(
            RateLimit.fixed_window("user", limit=2, window=HOUR * 8000),
            RateLimit.fixed_window("ip", limit=3, window=HOUR * 8000, scope="ip"),
        )
        passed = Counter(
            [(await admitter.admit(limits, caller)).allowed for caller in (ALICE, ALICE, BOB, BOB)]
        )
        assert passed == {True: 3, False: 1}  # the fourth: Bob has one left, their common network none


class TestReceipt:
    async def test_a_repeated_call_is_answered_again_and_charged_once(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        limits = plan(RateLimit.token_bucket(max_tokens=5, refill_rate=0.001))
        keys = ["{u:alice}:v1:r:1", *limits.keys(ALICE)]
        arguments: tuple[int | bytes, ...] = (10_000, 1, *limits.arguments((1,)))
        first = await store.run(ADMIT, keys, arguments)
        assert await store.run(ADMIT, keys, arguments) == first
        other = await store.run(ADMIT, ["{u:alice}:v1:r:2", *keys[1:]], arguments)
        assert other.split()[4] == b"3"

    async def test_an_answer_lost_with_its_connection_is_asked_for_again_and_charged_once(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        flaky = Flaky(store)
        admission = await Admitter(flaky, clock=SystemClock()).admit(
            plan(RateLimit.token_bucket(max_tokens=5, refill_rate=0.001)), ALICE
        )
        assert flaky.calls == 2
        assert not admission.degraded
        assert remaining(admission) == [4]

    async def test_a_wrong_type_under_a_key_writes_nothing_at_all(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        limits = plan(
            RateLimit.token_bucket("a", max_tokens=5, refill_rate=0.001),
            RateLimit.token_bucket("b", max_tokens=5, refill_rate=0.001),
        )
        keys = limits.keys(ALICE)
        await store.execute("LPUSH", keys[1], "not a number")
        with pytest.raises(Exception, match="Valkey answered"):
            await store.run(ADMIT, ["{u:alice}:v1:r:1", *keys], (10_000, 2, *limits.arguments((1, 1))))
        assert await store.execute("EXISTS", keys[0]) == 0


class Broken:
    """A store that does not answer: what the client raises during an outage."""

    def submit(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> Awaitable[bytes]:
        raise StoreDown("gone")

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, timeout_s: float
    ) -> bytes:
        raise StoreDown("gone")


class Flaky(Broken):
    """A store that runs a call and loses the first answer with the connection."""

    def __init__(self, store: ValkeyClient) -> None:
        self._store = store
        self.calls = 0

    async def _first_lost(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> bytes:
        reply: bytes = await self._store.run(script, keys, args)
        self.calls += 1
        if self.calls == 1:
            raise StoreDown("lost")
        return reply

    def submit(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> Awaitable[bytes]:
        return self._first_lost(script, keys, args)


class TestStoreDown:
    def setup_method(self) -> None:
        self.clock = ManualClock(1_800_000_000.0)

    def admitter(self, replicas: int = 1) -> Admitter:
        return Admitter(Broken(), clock=self.clock, replicas=replicas)

    @pytest.mark.parametrize("limit", ALGORITHMS, ids=lambda limit: limit.algorithm)
    async def test_a_local_limit_goes_on_counting_in_the_process(self, limit: RateLimit) -> None:
        admitter = self.admitter()
        quota = 1 if limit.algorithm in ("throttle", "debounce") else limit.quota
        answers = [await admitter.admit(plan(limit), ALICE) for _ in range(3 * quota)]
        assert sum(answer.allowed for answer in answers) == quota
        assert all(answer.degraded for answer in answers)

    async def test_each_of_several_replicas_grants_its_part(self) -> None:
        admitter = self.admitter(replicas=4)
        limits = plan(RateLimit.fixed_window(limit=10, window=HOUR))
        assert sum([(await admitter.admit(limits, ALICE)).allowed for _ in range(10)]) == 2

    async def test_an_open_limit_lets_all_pass(self) -> None:
        admitter = self.admitter()
        limits = plan(RateLimit.fixed_window(limit=1, window=HOUR, on_store_down="open"))
        assert all([(await admitter.admit(limits, ALICE)).allowed for _ in range(5)])

    async def test_an_open_limit_does_not_hide_a_local_one_that_refuses(self) -> None:
        admitter = self.admitter()
        limits = plan(
            RateLimit.fixed_window("a", limit=1, window=HOUR, on_store_down="open"),
            RateLimit.fixed_window("b", limit=2, window=HOUR),
        )
        answers = [await admitter.admit(limits, ALICE) for _ in range(3)]
        assert [answer.allowed for answer in answers] == [True, True, False]
        assert answers[-1].cause_name == "b"

    async def test_a_closed_limit_is_503_and_429_once_its_local_count_is_used_up(self) -> None:
        admitter = self.admitter()
        limits = plan(RateLimit.fixed_window(limit=2, window=HOUR, on_store_down="closed"))
        for _ in range(2):
            with pytest.raises(LimitUnavailable):
                await admitter.admit(limits, ALICE)
        assert not (await admitter.admit(limits, ALICE)).allowed

    async def test_a_closed_limit_waits_longer_than_the_stores_budget_before_it_refuses(
        self, store: ValkeyClient, clean_store: None
    ) -> None:
        budgets: list[float] = []

        class Slow(Broken):
            async def run(
                self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, timeout_s: float
            ) -> bytes:
                budgets.append(timeout_s)
                reply: bytes = await store.run(script, keys, args)
                return reply

        limits = plan(RateLimit.fixed_window(limit=2, window=HOUR, on_store_down="closed"))
        assert (await Admitter(Slow(), clock=self.clock).admit(limits, ALICE)).allowed
        assert budgets == [0.25]

    async def test_the_local_count_recovers_with_time(self) -> None:
        admitter = self.admitter()
        limits = plan(RateLimit.token_bucket(max_tokens=1, refill_rate=1))
        assert [(await admitter.admit(limits, ALICE)).allowed for _ in range(2)] == [True, False]
        self.clock.advance(1.0)
        assert (await admitter.admit(limits, ALICE)).allowed


class TestAttemptLimit:
    LIMIT = RateLimit.fixed_window("account", limit=3, window=HOUR * 8000, on_store_down="closed")

    async def test_the_fourth_attempt_of_one_account_is_refused_and_another_is_not(
        self, admitter: Admitter
    ) -> None:
        attempts = AttemptLimit(admitter, "login", self.LIMIT, secret=b"pepper")
        for _ in range(3):
            await attempts.spend("ada@example.com")
        with pytest.raises(RateLimitExceeded) as refusal:
            await attempts.spend("ada@example.com")
        assert refusal.value.retry_after is not None
        await attempts.spend("grace@example.com")

    async def test_the_account_does_not_stand_in_the_store(
        self, admitter: Admitter, store: ValkeyClient
    ) -> None:
        await AttemptLimit(admitter, "login", self.LIMIT, secret=b"pepper").spend("grace@example.com")
        assert not [key for key in await store.execute("KEYS", "*") if b"grace" in key]

    async def test_an_outage_is_503(self) -> None:
        attempts = AttemptLimit(
            Admitter(Broken(), clock=SystemClock()), "login", self.LIMIT, secret=b"pepper"
        )
        with pytest.raises(LimitUnavailable):
            await attempts.spend("ada@example.com")


class Timeline:
    """The real script with its clock taken out: ``now`` comes from the test."""

    SCRIPT = Script(
        "admit_at",
        ADMIT.source.replace("local t = redis.call('TIME')", "").replace(
            "local now = t[1] * 1000000 + t[2]", "local now = tonumber(ARGV[1])"
        ),
    )

    def __init__(self, store: ValkeyClient, start: float = 1_800_000_000) -> None:
        self._store = store
        self._start = start
        self._calls = 0

    async def admit(self, limits: Plan, second: float, costs: tuple[int, ...] | None = None) -> Admission:
        self._calls += 1
        now = round((self._start + second) * 1_000_000)
        keys = [f"{{u:alice}}:v1:r:{self._calls}", *limits.keys(ALICE)]
        reply = await self._store.run(
            self.SCRIPT, keys, (now, limits.size, *limits.arguments(costs or limits.costs))
        )
        verdict, cause, _, *numbers = map(int, reply.split())
        return Admission(limits, not verdict, cause, numbers, degraded=False)
