"""What a job in a process of the pool says about itself, told to the worker a few times a second."""

import json
import threading
import time
from collections.abc import Callable
from typing import Protocol


class _Timer(Protocol):
    def start(self) -> None: ...

    def cancel(self) -> None: ...


def _timer(seconds: float, work: Callable[[], None]) -> _Timer:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    return timer


class ChildReports:
    """The reports of one run. The first is told at once, later ones at most every ``every_s`` seconds, and the last one always.

    May be called by several threads. After ``close`` nothing is told: the worker has gone on to another job. ``clock`` (seconds) and
    ``timer`` are for tests.
    """

    def __init__(
        self,
        tell: Callable[[bytes], None],
        *,
        every_s: float = 0.2,
        clock: Callable[[], float] = time.monotonic,
        timer: Callable[[float, Callable[[], None]], _Timer] = _timer,
    ) -> None:
        self._tell = tell
        self._every_s = every_s
        self._clock = clock
        self._make_timer = timer
        self._lock = threading.RLock()
        self._progress: tuple[float | None, str | None] = (None, None)
        self._cost: int | None = None
        self._timer: _Timer | None = None
        self._next = clock()
        self._is_open = True

    def progress(self, fraction: float, note: str | None) -> None:
        """Keep it, and tell it when its time has come."""
        with self._lock:
            self._progress = (float(fraction), note)
            self._tell_in_time()

    def cost(self, micro: int) -> None:
        """What the job costs in the end."""
        with self._lock:
            self._cost = micro
            self._tell_in_time()

    def close(self) -> None:
        """Tell what is not told yet, and nothing more."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._tell_now()
            self._is_open = False

    def _tell_in_time(self) -> None:
        if self._timer is not None:
            return
        wait_s = self._next - self._clock()
        if wait_s <= 0:
            self._tell_now()
        elif self._is_open:
            self._timer = self._make_timer(wait_s, self._tell_late)
            self._timer.start()

    def _tell_late(self) -> None:
        with self._lock:
            self._timer = None
            self._tell_now()

    def _tell_now(self) -> None:
        said = (*self._progress, self._cost)
        if self._is_open and said != (None, None, None):
            self._progress, self._cost = (None, None), None
            self._next = self._clock() + self._every_s
            self._tell(json.dumps(said).encode())
