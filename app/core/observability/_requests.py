"""Finished HTTP requests, on their way from the edge to the access log and the metrics."""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple


class RequestRecord(NamedTuple):
    """Made once per request, after its last byte.

    ``ended_at`` is in seconds since the epoch; ``route`` is a path template, never a path; ``status`` 499
    means that the client left early; ``size`` is the body's bytes; ``policy`` and ``outcome`` are the gate's
    name and verdict; ``is_logged`` false keeps it out of the access log unless its status is 500 or above.
    """

    ended_at: float
    method: str
    route: str
    status: int
    duration_s: float
    size: int
    request_id: str
    client_ip: str | None
    principal_id: str | None
    policy: str | None
    outcome: str | None
    is_logged: bool = True


Consumer = Callable[[Sequence[RequestRecord]], None]


class RequestReports:
    """Takes finished requests one by one and hands them on in batches, within ``delay_s`` seconds.

    One by one, the log line and the metrics of a request cost twice as much, most of it system calls and cold
    caches. A process that is killed loses the last batch; one that ends in order does not (``flush`` at the
    end of the lifespan, or the interpreter's exit). Outside an event loop, and with ``delay_s=0``, requests
    pass at once. Consumers must not raise.
    """

    def __init__(self, *consumers: Consumer, delay_s: float = 0.05, max_waiting: int = 100) -> None:
        self._consumers = consumers
        self._delay_s = delay_s
        self._max_waiting = max_waiting
        # A deque, because its appends and pops are atomic: /metrics flushes from a worker thread.
        self._waiting: deque[RequestRecord] = deque()
        self._timer_on: asyncio.AbstractEventLoop | None = None
        weakref.finalize(self, _hand_on, self._waiting, consumers)

    def __call__(self, record: RequestRecord) -> None:
        """Take one finished request."""
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
            loop.call_later(self._delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_on = None
        self.flush()

    def flush(self) -> None:
        """Hand on what waits. Safe in any thread."""
        _hand_on(self._waiting, self._consumers)


def _hand_on(waiting: deque[RequestRecord], consumers: tuple[Consumer, ...]) -> None:
    batch: list[RequestRecord] = []
    while True:
        try:
            batch.append(waiting.popleft())
        except IndexError:
            break
    if batch:
        for consume in consumers:
            consume(batch)
