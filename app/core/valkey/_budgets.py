"""Calls with a budget of their own: queued by its length, because calls of one length expire in order."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, final

from app.core.valkey._errors import StoreTimeout

# One more poll of the socket before a call times out; see Wire._on_timer.
GRACE_S = 0.001


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    """Give a call its error, unless it has an outcome already (answered, cancelled, timed out)."""
    if not future.done():
        future.set_exception(error)
        # Marks the error as seen: a caller that went away without awaiting must not cause a warning when the
        # future is collected.
        future.exception()


@final
class _Lane:
    """The calls whose budgets are equally long, oldest first, and the one timer that they share."""

    __slots__ = ("calls", "seconds", "timer")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.calls: deque[tuple[float, asyncio.Future[Any], bool]] = deque()
        self.timer: asyncio.TimerHandle | None = None


@final
class OwnBudgets:
    """The calls whose budget is not the connection's.

    ``on_timeout`` is called for each that times out and counts as a failure. A timer per call would cost as much as the call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_timeout: Callable[[], None]) -> None:
        self._loop = loop
        self._on_timeout = on_timeout
        self._lanes: dict[float, _Lane] = {}
        self._members: set[asyncio.Future[Any]] = set()

    def __contains__(self, future: asyncio.Future[Any]) -> bool:
        return future in self._members

    def give(self, future: asyncio.Future[Any], seconds: float, *, counts: bool) -> None:
        """Time ``future`` out after ``seconds``.

        ``counts`` false: a budget so short that missing it says nothing about the store.
        """
        lane = self._lanes.get(seconds)
        if lane is None:
            lane = self._lanes[seconds] = _Lane(seconds)
        else:
            self._drop_answered(lane)
        lane.calls.append((self._loop.time() + seconds, future, counts))
        self._members.add(future)
        if lane.timer is None:
            lane.timer = self._loop.call_later(seconds, self._look, lane)

    def _drop_answered(self, lane: _Lane) -> None:
        calls = lane.calls
        while calls and calls[0][1].done():
            self._members.discard(calls.popleft()[1])

    def _look(self, lane: _Lane) -> None:
        """The time of the first is over, or was that of one which is answered by now."""
        self._drop_answered(lane)
        if not lane.calls:
            lane.timer = None
            del self._lanes[lane.seconds]
            return
        left = lane.calls[0][0] - self._loop.time()
        if left > 0:
            lane.timer = self._loop.call_later(left, self._look, lane)
        else:
            lane.timer = self._loop.call_later(GRACE_S, self._expire, lane)

    def _expire(self, lane: _Lane) -> None:
        due = self._loop.time() - GRACE_S
        while lane.calls and lane.calls[0][0] <= due:
            _, future, counts = lane.calls.popleft()
            self._members.discard(future)
            if not future.done():
                fail(future, StoreTimeout())
                if counts:
                    self._on_timeout()
        self._look(lane)
