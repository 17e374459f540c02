"""The breaker of the policies, on a clock that the test moves."""

import threading

import pytest

from app.core.errors import ConfigurationError
from app.core.observability import BreakerEvent, Event, EventHub
from app.core.policies import Breaker
from app.core.resilience import BreakerMode, BreakerRules, Breakers, Leave, ManualClock, RollingBreaker


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def make(clock: ManualClock, changes: list[str] | None = None, **rules: float) -> RollingBreaker:
    def on_change(_dependency: str, state: str, _former: str) -> None:
        if changes is not None:
            changes.append(state)

    return RollingBreaker(
        "weather",
        BreakerRules(**{"min_calls": 4, **rules}),  # type: ignore[arg-type]
        clock=clock,
        rng=lambda: 0.0,
        on_change=on_change,
    )


def take(breaker: RollingBreaker) -> Leave:
    leave = breaker.try_acquire()
    assert leave is not None
    return leave


def fail(breaker: RollingBreaker, times: int = 1) -> None:
    for _ in range(times):
        take(breaker).failed()


def succeed(breaker: RollingBreaker, times: int = 1) -> None:
    for _ in range(times):
        take(breaker).succeeded()


class TestClosed:
    def test_few_calls_prove_nothing(self, clock: ManualClock) -> None:
        breaker = make(clock)
        fail(breaker, 3)
        assert breaker.snapshot().state == "closed"

    def test_the_failure_rate_opens_it(self, clock: ManualClock) -> None:
        breaker = make(clock)
        succeed(breaker, 3)
        fail(breaker, 2)
        assert breaker.snapshot().state == "closed"
        fail(breaker)
        assert breaker.snapshot().state == "open"
        assert breaker.try_acquire() is None
        assert breaker.retry_after_s() == 5.0

    def test_failures_that_left_the_window_do_not_count(self, clock: ManualClock) -> None:
        breaker = make(clock)
        fail(breaker, 3)
        clock.advance(10)
        fail(breaker)
        snapshot = breaker.snapshot()
        assert (snapshot.state, snapshot.calls, snapshot.failures) == ("closed", 1, 1)

    def test_the_window_goes_by_tenths(self, clock: ManualClock) -> None:
        breaker = make(clock, min_calls=100)
        for _ in range(20):
            succeed(breaker)
            clock.advance(1)
        assert breaker.snapshot().calls == 9

    def test_slow_calls_open_it_though_they_succeed(self, clock: ManualClock) -> None:
        breaker = make(clock, slow_after=2, slow_rate=0.5)
        quick, *slow = [take(breaker) for _ in range(4)]
        quick.succeeded()
        clock.advance(2)
        for leave in slow:
            leave.succeeded()
        assert breaker.snapshot().state == "open"

    def test_abandoned_calls_count_for_nothing(self, clock: ManualClock) -> None:
        breaker = make(clock, min_calls=1)
        for _ in range(50):
            take(breaker).abandoned()
        assert breaker.snapshot().calls == 0


class TestOpen:
    def test_results_of_earlier_calls_change_nothing(self, clock: ManualClock) -> None:
        breaker = make(clock)
        early = [take(breaker) for _ in range(3)]
        fail(breaker, 4)
        early[0].succeeded()
        assert breaker.snapshot().state == "open"
        clock.advance(5)
        probe = take(breaker)
        early[1].succeeded()
        early[2].failed()
        assert breaker.snapshot().state == "half_open"
        probe.succeeded()
        assert breaker.snapshot().state == "closed"

    def test_each_failed_probe_doubles_the_time_up_to_the_most(self, clock: ManualClock) -> None:
        breaker = make(clock)
        fail(breaker, 4)
        waits = []
        for _ in range(6):
            waits.append(breaker.retry_after_s())
            clock.advance(waits[-1])
            fail(breaker)
        assert waits == [5, 10, 20, 40, 60, 60]

    def test_one_that_flaps_stays_open_for_longer(self, clock: ManualClock) -> None:
        breaker = make(clock)
        fail(breaker, 4)
        clock.advance(5)
        succeed(breaker)
        fail(breaker, 4)
        assert breaker.retry_after_s() == 10

    def test_one_that_was_well_for_a_while_starts_anew(self, clock: ManualClock) -> None:
        breaker = make(clock)
        fail(breaker, 4)
        clock.advance(5)
        fail(breaker)
        clock.advance(10)
        succeed(breaker)
        clock.advance(10)
        fail(breaker, 4)
        assert breaker.retry_after_s() == 5

    def test_processes_do_not_probe_together(self, clock: ManualClock) -> None:
        breaker = RollingBreaker("weather", BreakerRules(min_calls=1), clock=clock, rng=lambda: 1.0)
        fail(breaker)
        assert breaker.retry_after_s() == 4.0


class TestHalfOpen:
    def half_open(self, clock: ManualClock, **rules: float) -> RollingBreaker:
        breaker = make(clock, None, **rules)
        fail(breaker, 4)
        clock.advance(5)
        assert breaker.snapshot().state == "half_open"
        return breaker

    @pytest.mark.parametrize("probes", [1, 3])
    def test_two_hundred_at_once_are_exactly_so_many_probes(self, clock: ManualClock, probes: int) -> None:
        breaker = self.half_open(clock, probes=probes)
        given: list[Leave] = []
        start = threading.Barrier(20)

        def ask() -> None:
            start.wait()
            given.extend(leave for _ in range(10) if (leave := breaker.try_acquire()) is not None)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(given) == probes

    def test_it_closes_when_all_probes_succeeded(self, clock: ManualClock) -> None:
        breaker = self.half_open(clock, probes=2)
        first, second = take(breaker), take(breaker)
        first.succeeded()
        assert breaker.try_acquire() is None
        second.succeeded()
        assert breaker.snapshot().state == "closed"

    def test_one_failed_probe_opens_it(self, clock: ManualClock) -> None:
        breaker = self.half_open(clock, probes=2)
        first, second = take(breaker), take(breaker)
        first.failed()
        second.succeeded()
        assert breaker.snapshot().state == "open"

    def test_a_slow_probe_has_failed(self, clock: ManualClock) -> None:
        breaker = self.half_open(clock)
        probe = take(breaker)
        clock.advance(10)
        probe.succeeded()
        assert breaker.snapshot().state == "open"

    def test_a_cancelled_probe_frees_its_place_and_says_nothing(self, clock: ManualClock) -> None:
        breaker = self.half_open(clock)
        take(breaker).abandoned()
        assert breaker.snapshot().state == "half_open"
        succeed(breaker)
        assert breaker.snapshot().state == "closed"

    def test_a_probe_that_never_answers_loses_its_place_when_its_lease_ends(self, clock: ManualClock) -> None:
        breaker = self.half_open(clock, probe_lease=30, slow_after=100)
        lost = take(breaker)
        assert breaker.retry_after_s() == 30
        clock.advance(30)
        second = take(breaker)
        lost.failed()
        assert breaker.snapshot().state == "half_open"
        second.succeeded()
        assert breaker.snapshot().state == "closed"


class TestByHand:
    def test_isolated_refuses_until_it_is_closed(self, clock: ManualClock) -> None:
        breaker = make(clock)
        breaker.isolate()
        clock.advance(1000)
        assert breaker.try_acquire() is None
        assert breaker.retry_after_s() == 60
        assert breaker.snapshot().state == "isolated"
        breaker.close()
        succeed(breaker)
        assert (breaker.snapshot().state, breaker.snapshot().mode) == ("closed", "auto")

    def test_close_ends_an_open_period_and_forgets_its_length(self, clock: ManualClock) -> None:
        breaker = make(clock)
        fail(breaker, 4)
        breaker.close()
        fail(breaker, 4)
        assert breaker.retry_after_s() == 5

    @pytest.mark.parametrize("mode", ["metrics_only", "disabled"])
    def test_these_modes_refuse_nobody(self, clock: ManualClock, mode: BreakerMode) -> None:
        changes: list[str] = []
        breaker = make(clock, changes)
        breaker.set_mode(mode)
        fail(breaker, 4)
        assert breaker.try_acquire() is not None
        assert changes == (["would_open"] if mode == "metrics_only" else [])
        breaker.set_mode("auto")
        fail(breaker, 4)
        assert breaker.try_acquire() is None

    def test_results_of_calls_before_it_was_isolated_change_nothing(self, clock: ManualClock) -> None:
        breaker = make(clock, min_calls=1)
        early = take(breaker)
        breaker.isolate()
        breaker.set_mode("auto")
        early.failed()
        assert breaker.snapshot().state == "closed"

    def test_a_mode_that_is_none_is_refused(self, clock: ManualClock) -> None:
        with pytest.raises(ValueError, match="one of auto, isolated"):
            make(clock).set_mode("open")  # type: ignore[arg-type]


class TestBreakers:
    def test_who_names_the_same_dependency_shares_its_breaker(self, clock: ManualClock) -> None:
        breakers = Breakers(clock=clock)
        first = breakers.get(Breaker(dependency="weather", records=lambda _: True))
        assert breakers.get(Breaker(dependency="weather")) is first
        assert breakers.get(Breaker(dependency="maps")) is not first
        assert [state.dependency for state in breakers.states()] == ["maps", "weather"]

    def test_unequal_numbers_are_refused_by_name(self) -> None:
        breakers = Breakers()
        breakers.get(Breaker(dependency="weather"))
        with pytest.raises(ConfigurationError, match="weather is declared with min_calls=20 and 5"):
            breakers.get(Breaker(dependency="weather", min_calls=5))

    def test_changes_are_events(self, clock: ManualClock) -> None:
        hub, events = EventHub(), list[Event]()
        hub.subscribe(BreakerEvent, events.append)
        breaker = Breakers(clock=clock, hub=hub, rng=lambda: 0.0).get(
            Breaker(dependency="weather", min_calls=1)
        )
        fail(breaker)
        clock.advance(5)
        succeed(breaker)
        assert [event[1:] for event in events if isinstance(event, BreakerEvent)] == [
            ("closed", None),
            ("open", "closed"),
            ("half_open", "open"),
            ("closed", "half_open"),
        ]

    def test_modes_are_set_by_name(self) -> None:
        breakers = Breakers()
        breaker = breakers.get(Breaker(dependency="weather"))
        assert breakers.set_mode("weather", "isolated")
        assert breakers.find("weather") is breaker
        assert breaker.snapshot().mode == "isolated"
        assert not breakers.set_mode("other", "isolated")
        assert breakers.find("other") is None
