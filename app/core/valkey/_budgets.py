"""Calls with a budget of their own: a timer each, because they do not expire in the order of the queue."""

import asyncio
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
class OwnBudgets:
    """The calls whose budget is not the connection's.

    ``on_timeout`` is called for each that times out and counts as a failure.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_timeout: Callable[[], None]) -> None:
        self._loop = loop
        self._on_timeout = on_timeout
        self._timers: dict[asyncio.Future[Any], asyncio.TimerHandle] = {}

    def __contains__(self, future: asyncio.Future[Any]) -> bool:
        return future in self._timers

    def give(self, future: asyncio.Future[Any], seconds: float, *, counts: bool) -> None:
        """Time ``future`` out after ``seconds``.

        ``counts`` false: a budget so short that missing it says nothing about the store.
        """
        self._timers[future] = self._loop.call_later(seconds, self._look_again, future, counts)
        future.add_done_callback(self._forget)

    def _look_again(self, future: asyncio.Future[Any], counts: bool) -> None:
        self._timers[future] = self._loop.call_later(GRACE_S, self._expire, future, counts)

    def _expire(self, future: asyncio.Future[Any], counts: bool) -> None:
        if future.done():
            return
        fail(future, StoreTimeout())
        if counts:
            self._on_timeout()

    def _forget(self, future: asyncio.Future[Any]) -> None:
        if timer := self._timers.pop(future, None):
            timer.cancel()
