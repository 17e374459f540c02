"""Records on their way to those who log and count them: handed on in batches, because one by one they cost twice as much."""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

T = TypeVar("T")


class Batches(Generic[T]):
    """Takes records one by one and hands them on in batches, within ``delay_s`` seconds, or as soon as ``max_waiting`` wait.

    A process that is killed loses the last batch; one that ends in order does not (``flush``, or the interpreter's exit). Outside an event
    loop, and with ``delay_s=0``, records pass at once. Consumers must not raise; they are called outside of any request's context.
    """

    def __init__(
        self, *consumers: Callable[[Sequence[T]], None], delay_s: float = 0.05, max_waiting: int = 100
    ) -> None:
        self._consumers = consumers
        self._delay_s = delay_s
        self._max_waiting = max_waiting
        # A deque, because its appends and pops are atomic: /metrics flushes from a worker thread.
        self._waiting: deque[T] = deque()
        self._timer_on: asyncio.AbstractEventLoop | None = None
        weakref.finalize(self, _hand_on, self._waiting, consumers)

    def __call__(self, record: T) -> None:
        """Take one."""
        self._waiting.append(record)
        if self._timer_on is None or len(self._waiting) >= self._max_waiting or self._timer_on.is_closed():
            self._arrange_flush()

    def _arrange_flush(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._delay_s <= 0 or len(self._waiting) >= self._max_waiting:
            self.flush()
        elif self._timer_on is not loop:
            self._timer_on = loop
            loop.call_later(self._delay_s, self._on_timer, context=Context())

    def _on_timer(self) -> None:
        self._timer_on = None
        self.flush()

    def flush(self) -> None:
        """Hand on what waits. Safe in any thread."""
        Context().run(_hand_on, self._waiting, self._consumers)


def _hand_on(waiting: deque[T], consumers: tuple[Callable[[Sequence[T]], None], ...]) -> None:
    batch: list[T] = []
    while True:
        try:
            batch.append(waiting.popleft())
        except IndexError:
            break
    if batch:
        for consume in consumers:
            consume(batch)
