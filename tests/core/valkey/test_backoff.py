from app.core.resilience import ManualClock
from app.core.valkey._backoff import Backoff


def test_first_attempt_comes_at_once_and_later_ones_within_a_second() -> None:
    backoff = Backoff(ManualClock())
    delays = [backoff.next_delay() for _ in range(50)]
    assert delays[0] == 0.0
    assert 0.0375 <= delays[1] <= 0.05
    assert all(0.75 <= delay <= 1.0 for delay in delays[6:])


def test_settled_connection_starts_the_count_anew() -> None:
    clock = ManualClock()
    backoff = Backoff(clock)
    for _ in range(4):
        backoff.next_delay()
    backoff.connected()
    clock.advance(5.0)
    assert backoff.next_delay() == 0.0


def test_first_young_death_is_forgiven_and_the_next_ones_are_not() -> None:
    clock = ManualClock()
    backoff = Backoff(clock)
    backoff.next_delay()
    delays = []
    for _ in range(8):
        backoff.connected()
        clock.advance(4.9)
        delays.append(backoff.next_delay())
    assert delays[0] == 0.0
    assert delays[1:5] == sorted(delays[1:5])
    assert 0.0375 <= delays[1] <= 0.05
    assert delays[-1] >= 0.75
