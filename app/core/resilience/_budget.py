"""A budget of retries: when everything fails, retries must not multiply the load (Finagle's RetryBudget)."""

from collections import deque
from threading import Lock

from app.core.resilience._clock import Clock, SystemClock

_UNIT = 1_000_000
_SLOTS = 10


class RetryBudget:
    """A token bucket: each request deposits ``share`` of a retry, each retry takes a whole one, deposits expire after ``ttl_s`` seconds.

    ``reserve_per_s`` retries a second are there without any request, so that a quiet process can retry at all. Over a window of
    ``ttl_s`` there are thus at most ``share * requests + reserve_per_s * ttl_s`` retries. Safe between threads.
    """

    def __init__(
        self,
        share: float = 0.2,
        *,
        reserve_per_s: float = 10.0,
        ttl_s: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        if not 0 <= share <= 1 or reserve_per_s < 0 or ttl_s <= 0:
            raise ValueError("share must be 0 to 1, reserve_per_s 0 or more, ttl_s more than 0 seconds")
        self._deposit = round(share * _UNIT)
        self._reserve = round(reserve_per_s * ttl_s * _UNIT)
        self._ttl_s = ttl_s
        self._clock = clock or SystemClock()
        self._lock = Lock()
        self._slots: deque[list[float]] = deque()
        self._balance = 0

    def deposit(self) -> None:
        """Count a request that is not a retry."""
        with self._lock:
            self._add(self._deposit)

    def withdraw(self) -> bool:
        """Take one retry. False when there is none left: then the last error stands."""
        with self._lock:
            self._expire()
            if self._reserve + self._balance < _UNIT:
                return False
            self._add(-_UNIT)
            return True

    @property
    def left(self) -> int:
        """Retries that could be taken now."""
        with self._lock:
            self._expire()
            return max(0, (self._reserve + self._balance) // _UNIT)

    def _add(self, amount: int) -> None:
        now = self._clock.monotonic()
        if not self._slots or now - self._slots[-1][0] >= self._ttl_s / _SLOTS:
            self._expire()
            self._slots.append([now, 0])
        self._slots[-1][1] += amount
        self._balance += amount

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._slots and now - self._slots[0][0] >= self._ttl_s:
            self._balance -= int(self._slots.popleft()[1])
