"""Deadlines of many short tasks under one timer.

``asyncio.timeout`` starts and stops a timer for each block: about 14 us of the CPU time of a request (measured), nearly always for
nothing. Here a block costs an entry in a heap; the one timer stands at the earliest entry that has not been crossed off.
"""

import asyncio
import time
from asyncio import Task
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, final

from app.core.context import current_context, reset_context, set_context

_COMPACT_AT = 1024


def earliest(*deadlines: float | None) -> float | None:
    """The first of those that there are; None when there is none."""
    found: float | None = None
    for deadline in deadlines:  # twice a request: a generator for ``min`` would cost three times as much
        if deadline is not None and (found is None or deadline < found):
            found = deadline
    return found


def remaining_s(default: float | None = None) -> float | None:
    """Seconds until the deadline of the work in hand, 0 when it is over, at most ``default``; ``default`` itself without a deadline.

    For timeouts of calls to other services: ``client.get(url, timeout=remaining_s(10.0))``.
    """
    deadline = current_context().deadline
    if deadline is None:
        return default
    left = max(0.0, deadline - time.monotonic())
    return left if default is None else min(left, default)


@contextmanager
def deadline_at(deadline: float | None) -> Iterator[None]:
    """The work in the block has its deadline at ``deadline``, a reading of ``time.monotonic()``, unless it had an earlier one.

    It only tells: ``remaining_s`` and retries go by it, nothing is cancelled.
    """
    context = current_context()
    token = set_context(context._replace(deadline=earliest(deadline, context.deadline)))
    try:
        yield
    finally:
        reset_context(token)


@final
class Watch:
    """One block under a deadline. Call ``finish`` exactly once, when the block is over, however it ended."""

    __slots__ = ("_cancelling", "_keeper", "expired", "task")

    def __init__(self, keeper: "Deadlines", task: Task[Any]) -> None:
        self._keeper = keeper
        self._cancelling = task.cancelling()
        self.task: Task[Any] | None = task
        self.expired = False

    def finish(self) -> bool:
        """Cross the block off. True when its cancellation, if one arrives, is this deadline's and nobody else's."""
        task, self.task = self.task, None
        self._keeper.crossed_off()
        # As asyncio.timeout: our cancellation is taken back, and an outer one that came at the same time stays.
        return self.expired and task is not None and task.uncancel() <= self._cancelling


@final
class Deadlines:
    """Cancels the tasks whose deadline has come. Belongs to one running loop; make it there."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, Watch]] = []
        self._numbers = count()
        self._done = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def watch(self, deadline: float) -> Watch:
        """Cancel the running task at ``deadline``, a reading of ``time.monotonic()``, unless it is crossed off before.

        Raises RuntimeError outside a task.
        """
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        watch = Watch(self, task)
        heappush(self._heap, (deadline, next(self._numbers), watch))
        if deadline < self._timer_at:
            self._arm(deadline)
        return watch

    def close(self) -> None:
        """Forget every deadline."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __len__(self) -> int:
        return len(self._heap)

    def crossed_off(self) -> None:
        """Count a finished entry, and sweep them out when most are finished."""
        self._done += 1
        if self._done >= _COMPACT_AT and 2 * self._done > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].task is not None]
            heapify(self._heap)
            self._done = 0

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(deadline - time.monotonic(), 0), self._on_timer)

    def _on_timer(self) -> None:
        now, heap = time.monotonic(), self._heap
        self._timer, self._timer_at = None, float("inf")
        while heap and (heap[0][2].task is None or heap[0][0] <= now):
            watch = heappop(heap)[2]
            if watch.task is None:
                self._done -= 1
            else:
                watch.expired = True
                watch.task.cancel()
        if heap:
            self._arm(heap[0][0])
