"""The server's clock is put forward or back between ADMIT and the end of the request: nothing is lost, done twice, or kept for ever."""

from collections.abc import AsyncIterator

import pytest

from app.core.policies import Admission, Admitter, Ask, Balance, Plan, RateLimit, Verdict
from app.core.resilience import ManualClock
from app.core.valkey import Entry, Put, ValkeyClient
from tests.core.policies.asking import (
    ALICE,
    CREDIT,
    HOUR_MS,
    NO_LIMITS,
    TimedStore,
    claim,
    fund,
    hold,
    lives,
    lookup,
    quota,
    slot,
    timed,
)

pytestmark = pytest.mark.usefixtures("clean_store")
STEPS = [-7200.0, -2.0, -0.001, 2.0, 7200.0]
LONG_LEASE = 30_000
LIMITS = Plan(
    "orders",
    [
        RateLimit.token_bucket("bucket", max_tokens=10, refill_rate=0.001, charge="admit"),
        RateLimit.fixed_window("fixed", limit=10, window=60, charge="admit"),
        RateLimit.sliding_window("sliding", limit=10, window=60, charge="admit"),
        RateLimit.fixed_window("tried", limit=10, window=60),
    ],
)


class Late:
    """One request with everything, admitted at noon; then the clock is put to another time."""

    def __init__(self, admitter: Admitter, time: TimedStore, store: ValkeyClient) -> None:
        self.admitter, self.time, self.store = admitter, time, store
        self.first: Admission | None = None

    @property
    def ask(self) -> Ask:
        allowance = quota(end_ms=4_000_000_000_000)
        return Ask(claim(), lookup(), False, (allowance,), (slot(1),), hold(1))

    async def begin(self, step: float) -> Admission:
        await self.time.at(7200)
        await fund(self.store, 5)
        first = await self.admitter.admit(LIMITS, ALICE, None, self.ask)
        assert (first.verdict, first.is_leader) == (Verdict.ADMITTED, True)
        await self.time.at(7200 + step)
        return first

    async def held(self) -> tuple[int, int]:
        balance, held = await self.store.execute("HMGET", "{u:alice}:v1:c", "b", "h")
        return int(balance) // CREDIT, int(held) // CREDIT

    async def left(self) -> dict[str, int]:
        """What remains of each limit."""
        looked = await self.admitter.admit(LIMITS, ALICE, (0, 0, 0, 0))
        return {state.limit.name: state.remaining for state in looked.states}


@pytest.fixture
async def late(store: ValkeyClient) -> AsyncIterator[Late]:
    admitter, time = await timed(store)
    yield Late(admitter, time, store)
    await admitter.close()


def entry(first: Admission) -> Put:
    looked = first.ask.lookup
    assert looked is not None
    return Put(looked.key, (b"60000", b"0", b"5", first.versions, b"body"))


@pytest.mark.parametrize("step", STEPS)
class TestSettle:
    async def test_keeps_the_result_and_the_entry_frees_the_rest_and_may_be_repeated(
        self, late: Late, step: float
    ) -> None:
        first = await late.begin(step)
        for _ in range(2):
            settled = await late.admitter.settle(first, b"result", Balance(4 * CREDIT, 2), entry(first))
            assert not settled.is_fenced
        assert await late.held() == (4, 0)
        again = await late.admitter.admit(LIMITS, ALICE, None, late.ask)
        assert (again.verdict, again.tail) == (Verdict.REPLAY, b"result")
        other = await late.admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(1),)))
        assert other.allowed
        fresh = await late.admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))
        assert (fresh.verdict, fresh.tail.endswith(b"body")) == (Verdict.FRESH, True)
        await late.store.execute("DEL", "test:now")
        assert all(life > 0 for life in (await lives(late.store)).values())

    async def test_giving_back_leaves_no_limit_above_its_whole_and_charges_nobody_twice(
        self, late: Late, step: float
    ) -> None:
        first = await late.begin(step)
        for _ in range(2):
            await late.admitter.abort(first)
        assert await late.held() == (5, 0)
        left = await late.left()
        # What a window of another time took cannot be given back to this one: too much is counted, never too little. A bucket that was
        # touched in what is now the future counts as drained by so much time, and at most as empty.
        bucket = left.pop("bucket")
        assert bucket == (10 if step > 0 else 9 if step > -1000 else 2)
        assert all(9 <= remaining <= 10 for remaining in left.values()), left
        again = await late.admitter.admit(LIMITS, ALICE, None, late.ask)
        assert (again.verdict, again.generation) == (Verdict.ADMITTED, 1)

    async def test_a_renewal_keeps_what_is_still_there(self, late: Late, step: float) -> None:
        first = await late.begin(step)
        is_whole = await late.admitter.extend(first, LONG_LEASE)
        # Forward beyond its lease the slot was anybody's; the claim and the hold are his until somebody takes them.
        assert is_whole == (step < 10)
        other = await late.admitter.admit(LIMITS, ALICE, None, late.ask)
        assert other.verdict is Verdict.IN_FLIGHT
        assert not (await late.admitter.settle(first, b"result")).is_fenced
        assert (await late.admitter.admit(LIMITS, ALICE, None, late.ask)).tail == b"result"

    async def test_a_process_that_died_holds_its_claim_for_its_lease_and_the_step_at_most(
        self, late: Late, step: float
    ) -> None:
        await late.begin(step)
        ask = late.ask._replace(lookup=None)  # Valkey itself ends the lease of a computation
        later = await late.admitter.admit(LIMITS, ALICE, None, ask)
        if step < 10:
            assert later.verdict is Verdict.IN_FLIGHT
            assert later.wait_s == pytest.approx(10 - step)
            await late.time.at(7200 + step + later.wait_s)
            later = await late.admitter.admit(LIMITS, ALICE, None, ask)
        assert (later.verdict, later.generation) == (Verdict.ADMITTED, 2)

    async def test_who_was_taken_over_after_it_changes_nothing(self, late: Late, step: float) -> None:
        first = await late.begin(step)
        await late.time.at(7200 + max(step, 0) + 10.5)
        second = await late.admitter.admit(LIMITS, ALICE, None, late.ask._replace(lookup=None))
        assert (second.verdict, second.generation) == (Verdict.ADMITTED, 2)
        await late.time.at(7200 + step)
        assert (await late.admitter.settle(first, b"zombie")).is_fenced
        assert not (await late.admitter.settle(second, b"result")).is_fenced
        assert (await late.admitter.admit(LIMITS, ALICE, None, late.ask)).tail == b"result"


@pytest.mark.parametrize("back_s", [0.5, 7200.0])
async def test_an_entry_from_the_future_is_made_anew_once(late: Late, back_s: float) -> None:
    first = await late.begin(0)
    await late.admitter.settle(first, b"result", None, entry(first))
    await late.time.at(7200 - back_s)
    ask = Ask(lookup=lookup())
    leader, *others = [await late.admitter.admit(NO_LIMITS, ALICE, None, ask) for _ in range(3)]
    assert (leader.verdict, leader.is_leader) == (Verdict.ADMITTED, True)
    assert [other.verdict for other in others] == [Verdict.STALE] * 2
    await late.admitter.settle(leader, None, None, entry(leader))
    kept = await late.admitter.admit(NO_LIMITS, ALICE, None, ask)
    assert kept.verdict is Verdict.FRESH
    assert Entry.parse(kept.tail).created == round((7200 - back_s) * 1000) + 1_800_000_000_000


async def test_the_quota_of_a_period_that_has_come_back_goes_on(late: Late) -> None:
    await late.time.at(0)
    day = Ask(allowances=(quota(2, end_ms=late.time.now_ms + HOUR_MS),))
    assert (await late.admitter.admit(NO_LIMITS, ALICE, None, day)).allowed
    await late.time.at(3600)
    assert (await late.admitter.admit(NO_LIMITS, ALICE, None, day)).verdict is Verdict.CLOCK
    await late.time.at(3599)
    verdicts = [(await late.admitter.admit(NO_LIMITS, ALICE, None, day)).verdict for _ in range(2)]
    assert verdicts == [Verdict.ADMITTED, Verdict.QUOTA]


@pytest.mark.parametrize("step", STEPS)
async def test_the_time_that_is_known_follows_the_server_with_its_next_answer(
    late: Late, step: float
) -> None:
    clock = ManualClock()
    admitter = Admitter(late.time, clock=clock)
    for second in (7200, 7200 + step):
        await late.time.at(second)
        await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(9),)))
        assert admitter.server_time_ms() == round((1_800_000_000 + second) * 1000)
