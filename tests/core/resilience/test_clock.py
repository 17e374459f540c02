import pytest

from app.core.resilience import Clock, ManualClock, SystemClock


def test_manual_clock_moves_only_when_told() -> None:
    clock: Clock = ManualClock(start=100.0)
    assert (clock.time(), clock.monotonic()) == (100.0, 100.0)
    assert isinstance(clock, ManualClock)
    clock.advance(1.5)
    assert (clock.time(), clock.monotonic()) == (101.5, 101.5)


def test_manual_clock_refuses_to_go_back() -> None:
    with pytest.raises(ValueError, match="forward"):
        ManualClock().advance(-0.1)


def test_system_clock_reads_seconds() -> None:
    clock = SystemClock()
    assert clock.time() > 1_700_000_000
    assert clock.monotonic() <= clock.monotonic()
