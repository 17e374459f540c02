from typing import Any

import pytest

from app.core.resilience import CircuitBreaker, ManualClock, Permit


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    return CircuitBreaker(failures=3, open_s=1.0, lease_s=5.0, clock=clock)


def acquire(breaker: CircuitBreaker) -> Permit:
    permit = breaker.try_acquire()
    assert permit is not None
    return permit


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        acquire(breaker).failed()


class TestClosed:
    def test_stays_closed_below_the_limit(self, breaker: CircuitBreaker) -> None:
        fail(breaker, 2)
        assert breaker.state == "closed"
        assert breaker.is_closed

    def test_opens_at_the_limit(self, breaker: CircuitBreaker) -> None:
        fail(breaker, 3)
        assert breaker.state == "open"
        assert breaker.try_acquire() is None

    def test_success_starts_the_count_anew(self, breaker: CircuitBreaker) -> None:
        fail(breaker, 2)
        acquire(breaker).succeeded()
        fail(breaker, 2)
        assert breaker.state == "closed"

    def test_abandoned_call_counts_for_nothing(self, breaker: CircuitBreaker) -> None:
        fail(breaker, 2)
        acquire(breaker).abandoned()
        assert breaker.state == "closed"
        fail(breaker, 1)
        assert breaker.state == "open"


class TestOpen:
    def test_refuses_until_its_time_is_over(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        breaker.trip()
        clock.advance(0.4)
        assert breaker.try_acquire() is None
        assert breaker.retry_after() == pytest.approx(0.6)

    def test_late_verdicts_of_earlier_calls_change_nothing(
        self, breaker: CircuitBreaker, clock: ManualClock
    ) -> None:
        early = acquire(breaker)
        breaker.trip()
        early.succeeded()
        assert breaker.state == "open"
        breaker.reset()
        for _ in range(3):
            early.failed()
        assert breaker.state == "closed"

    def test_reset_closes_it(self, breaker: CircuitBreaker) -> None:
        breaker.trip()
        breaker.reset()
        assert breaker.retry_after() == 0.0
        acquire(breaker)


class TestHalfOpen:
    @pytest.fixture(autouse=True)
    def half_open(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        breaker.trip()
        clock.advance(1.0)
        assert breaker.state == "half_open"

    def test_gives_one_probe_only(self, breaker: CircuitBreaker) -> None:
        acquire(breaker)
        assert breaker.try_acquire() is None
        assert breaker.retry_after() == pytest.approx(5.0)

    def test_closes_when_the_probe_succeeds(self, breaker: CircuitBreaker) -> None:
        acquire(breaker).succeeded()
        assert breaker.state == "closed"

    def test_opens_again_when_the_probe_fails(self, breaker: CircuitBreaker, clock: ManualClock) -> None:
        acquire(breaker).failed()
        assert breaker.state == "open"
        clock.advance(1.0)
        acquire(breaker)

    def test_abandoned_probe_frees_the_place(self, breaker: CircuitBreaker) -> None:
        acquire(breaker).abandoned()
        acquire(breaker).succeeded()
        assert breaker.is_closed

    def test_silent_probe_loses_its_place_and_its_vote(
        self, breaker: CircuitBreaker, clock: ManualClock
    ) -> None:
        silent = acquire(breaker)
        clock.advance(5.0)
        second = acquire(breaker)
        silent.succeeded()
        silent.abandoned()
        assert breaker.state == "half_open"
        assert breaker.try_acquire() is None
        second.succeeded()
        assert breaker.is_closed


@pytest.mark.parametrize("options", [{"failures": 0}, {"open_s": 0}, {"lease_s": -1}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        CircuitBreaker(**options)
