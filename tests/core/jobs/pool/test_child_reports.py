"""What a job says about itself, in a time of the test's own."""

import json
from collections.abc import Callable
from typing import Any

from app.core.jobs.pool._child_reports import ChildReports


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.told: list[Any] = []
        self.reports = ChildReports(self.hear, every_s=0.2, clock=lambda: self.now, timer=self.timer)

    def hear(self, said: bytes) -> None:
        self.told.append((round(self.now, 3), json.loads(said)))

    def timer(self, seconds: float, work: Callable[[], None]) -> "Timer":
        return Timer(self, self.now + seconds, work)

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        due, self.due = (
            [one for one in self.due if one[0] <= self.now],
            [one for one in self.due if one[0] > self.now],
        )
        for _, work in due:
            work()


class Timer:
    def __init__(self, time: Time, at: float, work: Callable[[], None]) -> None:
        self.time, self.entry = time, (at, work)

    def start(self) -> None:
        self.time.due.append(self.entry)

    def cancel(self) -> None:
        self.time.due.remove(self.entry)


def test_the_first_is_told_at_once_and_the_last_of_each_fifth_of_a_second() -> None:
    time = Time()
    for number in range(50):
        time.reports.progress(number / 100, f"{number}")
        time.go_on(0.01)
    assert [said[0] for _, said in time.told] == [0.0, 0.19, 0.39]
    time.go_on(10)
    assert [said[0] for _, said in time.told] == [0.0, 0.19, 0.39, 0.49]
    assert time.due == [], "nothing is told twice"


def test_what_was_said_before_a_long_silence_is_told_during_it() -> None:
    time = Time()
    time.reports.progress(0.1, None)
    time.reports.progress(0.5, "a long step")
    assert time.told == [(100.0, [0.1, None, None])]
    time.go_on(0.2)
    assert time.told[1:] == [(100.2, [0.5, "a long step", None])]
    time.go_on(5)
    time.reports.progress(0.6, None)
    assert time.told[2:] == [(105.2, [0.6, None, None])]


def test_the_cost_is_told_with_the_progress() -> None:
    time = Time()
    time.reports.cost(1)
    time.reports.progress(0.5, None)
    time.reports.cost(2)
    time.reports.cost(3)
    time.go_on(0.2)
    assert [said for _, said in time.told] == [[None, None, 1], [0.5, None, 3]]


def test_the_end_tells_the_rest_and_silences() -> None:
    time = Time()
    time.reports.progress(0.1, None)
    time.reports.progress(1.0, "done")
    time.reports.close()
    assert time.told == [(100.0, [0.1, None, None]), (100.0, [1.0, "done", None])]
    time.reports.progress(0.2, "late")
    time.reports.cost(9)
    time.go_on(10)
    assert len(time.told) == 2
    assert time.due == []
