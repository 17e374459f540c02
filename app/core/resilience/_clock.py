"""Where time comes from. Everything that decides by time is handed a clock, so that tests need not wait."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings, both in seconds."""

    def time(self) -> float:
        """Wall clock, seconds since the epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back. Use it for durations and deadlines."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to.

    For tests; both readings start at ``start`` and advance together.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start

    def time(self) -> float:
        """Seconds since the epoch, as set."""
        return self._now

    def monotonic(self) -> float:
        """The same number; only differences mean anything."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward.

        Raises ``ValueError`` for a negative step, because a monotonic clock never goes back.
        """
        if seconds < 0:
            raise ValueError("a clock only moves forward: seconds must be >= 0")
        self._now += seconds
