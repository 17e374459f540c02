import pytest

from app.builtin.jobs.service.webhook_turns import Turns
from app.core.resilience import ManualClock


def test_those_that_find_no_place_come_back_at_the_pace_of_the_host() -> None:
    clock = ManualClock()
    turns = Turns(clock, 2)
    for _ in range(40):  # it takes 10 seconds for each: with two places a turn every 5 seconds
        entered = turns.enter()
        clock.advance(10)
        turns.leave(entered)
    assert [turns.next_turn_s() for _ in range(3)] == [5, 10, 15]
    clock.advance(10)
    assert turns.next_turn_s() == 10
    assert max(turns.next_turn_s() for _ in range(100)) == 60


def test_there_is_one_place_at_least() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Turns(ManualClock(), 0)
