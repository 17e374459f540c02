"""Budgets of single calls: each expires in its own time, one timer serves all that are equally long."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from app.core.valkey import StoreTimeout
from app.core.valkey._budgets import GRACE_S, OwnBudgets


class HandLoop:
    """The part of an event loop that budgets use; its time goes on by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, what: Callable[..., None], *args: Any) -> object:
        self.timers.append((self.now + delay, what, args))
        return object()

    def until(self, moment: float) -> None:
        while due := sorted((timer for timer in self.timers if timer[0] <= moment), key=lambda t: t[0]):
            self.timers.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1](*due[0][2])
        self.now = moment


class Calls:
    def __init__(self) -> None:
        self.loop = HandLoop()
        self.failures = 0
        self.budgets = OwnBudgets(cast("asyncio.AbstractEventLoop", self.loop), self.count)
        self.real = asyncio.new_event_loop()

    def count(self) -> None:
        self.failures += 1

    def begin(self, seconds: float, *, counts: bool = True) -> asyncio.Future[Any]:
        future = self.real.create_future()
        self.budgets.give(future, seconds, counts=counts)
        return future


@pytest.fixture
def calls() -> Iterator[Calls]:
    calls = Calls()
    yield calls
    calls.real.close()


def has_timed_out(future: asyncio.Future[Any]) -> bool:
    return future.done() and isinstance(future.exception(), StoreTimeout)


def test_each_call_expires_after_its_own_budget_and_a_grace(calls: Calls) -> None:
    long, first = calls.begin(5), calls.begin(1)
    calls.loop.until(0.5)
    second = calls.begin(1)
    calls.loop.until(1.0)
    assert not first.done()
    calls.loop.until(1.0 + 2 * GRACE_S)
    assert [has_timed_out(each) for each in (long, first, second)] == [False, True, False]
    calls.loop.until(1.5 + 2 * GRACE_S)
    assert [has_timed_out(each) for each in (long, first, second)] == [False, True, True]
    calls.loop.until(5 + 2 * GRACE_S)
    assert has_timed_out(long)
    assert calls.failures == 3


def test_an_answer_in_the_grace_is_an_answer(calls: Calls) -> None:
    call = calls.begin(1)
    calls.loop.until(1.0)
    call.set_result(b"late")
    calls.loop.until(10)
    assert call.result() == b"late"
    assert calls.failures == 0


def test_a_call_that_does_not_count_is_no_failure(calls: Calls) -> None:
    call = calls.begin(1, counts=False)
    calls.loop.until(2)
    assert has_timed_out(call)
    assert calls.failures == 0


def test_an_answered_one_holds_up_nobody_and_is_forgotten(calls: Calls) -> None:
    answered, waiting = calls.begin(1), calls.begin(1)
    assert answered in calls.budgets
    answered.set_result(None)
    calls.loop.until(0.5)
    later = calls.begin(1)
    assert answered not in calls.budgets
    calls.loop.until(1.0 + 2 * GRACE_S)
    assert has_timed_out(waiting)
    assert not later.done()


def test_equal_budgets_share_one_timer_and_nothing_is_left_when_all_are_over(calls: Calls) -> None:
    futures = [calls.begin(0.25) for _ in range(1000)]
    assert len(calls.loop.timers) == 1
    for future in futures[::2]:
        future.set_result(None)
    calls.loop.until(1)
    assert sum(map(has_timed_out, futures)) == calls.failures == 500
    assert calls.loop.timers == []
    assert not any(future in calls.budgets for future in futures)
    assert calls.begin(0.25) in calls.budgets
