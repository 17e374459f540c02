"""Counts of the last seconds, in ten buckets: what is older than the window falls out a tenth at a time."""

_BUCKETS = 10


class Window:
    """Calls, failures and slow calls of the last ``seconds``. Not safe between threads; its owner locks."""

    __slots__ = ("_counts", "_newest", "_totals", "_width")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _BUCKETS
        self._newest = 0
        self._counts = [[0, 0, 0] for _ in range(_BUCKETS)]
        self._totals = [0, 0, 0]

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """Count one call."""
        self._turn(now)
        bucket = self._counts[self._newest % _BUCKETS]
        for index, amount in enumerate((1, failed, slow)):
            bucket[index] += amount
            self._totals[index] += amount

    def totals(self, now: float) -> tuple[int, int, int]:
        """Calls, failures, slow calls."""
        self._turn(now)
        calls, failures, slow = self._totals
        return calls, failures, slow

    def clear(self) -> None:
        """Forget everything."""
        for bucket in self._counts:
            bucket[:] = (0, 0, 0)
        self._totals = [0, 0, 0]

    def _turn(self, now: float) -> None:
        """Empty the buckets that the time has passed over."""
        newest = int(now / self._width)
        for number in range(max(self._newest + 1, newest - _BUCKETS + 1), newest + 1):
            bucket = self._counts[number % _BUCKETS]
            for index in range(3):
                self._totals[index] -= bucket[index]
            bucket[:] = (0, 0, 0)
        self._newest = max(newest, self._newest)
