import pytest

from app.core.resilience import ManualClock, RetryBudget


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def drain(budget: RetryBudget) -> int:
    taken = 0
    while budget.withdraw():
        taken += 1
    return taken


def test_a_fifth_of_the_requests_may_be_repeated(clock: ManualClock) -> None:
    budget = RetryBudget(0.2, reserve_per_s=0, clock=clock)
    for _ in range(1000):
        budget.deposit()
    assert budget.left == 200
    assert drain(budget) == 200


def test_the_reserve_is_there_without_any_request(clock: ManualClock) -> None:
    budget = RetryBudget(0.2, reserve_per_s=10, ttl_s=10, clock=clock)
    assert drain(budget) == 100


def test_what_was_taken_comes_back_after_its_time(clock: ManualClock) -> None:
    budget = RetryBudget(0.2, reserve_per_s=1, ttl_s=10, clock=clock)
    assert drain(budget) == 10
    clock.advance(9)
    assert drain(budget) == 0
    clock.advance(1)
    assert drain(budget) == 10


def test_deposits_expire(clock: ManualClock) -> None:
    budget = RetryBudget(0.5, reserve_per_s=0, ttl_s=10, clock=clock)
    for _ in range(4):
        budget.deposit()
    clock.advance(10)
    assert budget.left == 0


def test_retries_never_exceed_share_and_reserve_in_any_window(clock: ManualClock) -> None:
    budget = RetryBudget(0.2, reserve_per_s=10, ttl_s=10, clock=clock)
    times: list[float] = []
    for _ in range(6000):
        budget.deposit()
        if budget.withdraw():
            times.append(clock.monotonic())
        clock.advance(0.01)
    most = max(sum(start <= at < start + 9 for at in times) for start in times[::50])
    assert most <= 0.2 * 1000 + 100


def test_no_share_leaves_the_reserve(clock: ManualClock) -> None:
    budget = RetryBudget(0, reserve_per_s=0, clock=clock)
    budget.deposit()
    assert not budget.withdraw()


def test_numbers_that_make_no_sense_are_refused() -> None:
    for numbers in ({"share": 1.1}, {"reserve_per_s": -1}, {"ttl_s": 0}):
        with pytest.raises(ValueError, match="must be"):
            RetryBudget(**numbers)
