from uuid import UUID

import pytest

from app.core.jobs.worker._doubts import Doubts
from app.core.resilience import ManualClock

ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def doubts(clock: ManualClock) -> Doubts:
    return Doubts(3, clock)


def test_a_doubt_is_kept_for_ten_minutes_after_it_came_up_last(doubts: Doubts, clock: ManualClock) -> None:
    doubts.add([ONE, OTHER])
    clock.advance(599)
    doubts.add([ONE])
    assert set(doubts.ids()) == {ONE, OTHER}
    clock.advance(1)
    assert doubts.ids() == [ONE]
    clock.advance(599)
    assert doubts.ids() == []


def test_a_job_is_ours_when_the_store_has_said_so_often_enough_in_a_row(doubts: Doubts) -> None:
    assert [doubts.confirmed([ONE], ()) for _ in range(3)] == [[], [], [ONE]]
    assert [doubts.confirmed([ONE], ()) for _ in range(3)] == [[], [], [ONE]]


@pytest.mark.parametrize(("ours", "known"), [([], []), ([ONE], [ONE]), ([OTHER], [])])
def test_what_is_not_said_once_or_is_known_begins_anew(
    doubts: Doubts, ours: list[UUID], known: list[UUID]
) -> None:
    for _ in range(2):
        doubts.confirmed([ONE], ())
    doubts.confirmed(ours, known)
    assert [doubts.confirmed([ONE], ()) for _ in range(3)] == [[], [], [ONE]]
