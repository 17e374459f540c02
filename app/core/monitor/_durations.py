"""How long things took, in memory that does not grow: a histogram whose buckets are a tenth wide."""

from array import array
from bisect import bisect_left
from collections import deque
from itertools import accumulate
from math import ceil, log
from typing import Final

SHORTEST_MS: Final = 0.01
"""What took less is told as this much."""
_WIDTH = 1.1
_STEP = 1 / log(_WIDTH)
_LAST = 207  # Begins above 3,600,000 ms, an hour; what took longer is told as the longest that there was.
_MIDDLES = tuple(SHORTEST_MS * _WIDTH ** (index - 0.5) for index in range(_LAST + 1))


def bucket_of(duration_ms: float) -> int:
    """Which bucket a duration belongs to; the same for every histogram."""
    if duration_ms <= SHORTEST_MS:
        return 0
    # The middle of bucket 1 is half a bucket above SHORTEST_MS.
    return min(_LAST, int(log(duration_ms / SHORTEST_MS) * _STEP) + 1)


class Durations:
    """A histogram with logarithmic buckets, as HdrHistogram and DDSketch have it: 1.7 kB however much is counted.

    A percentile is at most 5 % from the true one between 0.01 ms and an hour. Several of them add up without any further loss. Not safe
    in threads by itself.
    """

    __slots__ = ("_counts", "count", "longest_ms", "number", "total_ms")

    def __init__(self, number: int = 0) -> None:
        self._counts = array("Q", bytes(8 * (_LAST + 1)))
        self.number = number
        """Which part of time it is about, for who keeps several."""
        self.count = 0
        self.total_ms = 0.0
        self.longest_ms = 0.0

    def add(self, duration_ms: float, bucket: int) -> None:
        """Count one; ``bucket`` is its ``bucket_of``."""
        self._counts[bucket] += 1
        self.count += 1
        self.total_ms += duration_ms
        self.longest_ms = max(self.longest_ms, duration_ms)

    def merge(self, other: "Durations") -> None:
        """Count all that ``other`` has counted."""
        self._counts = array("Q", map(int.__add__, self._counts, other._counts))  # noqa: SLF001 - of our own kind
        self.count += other.count
        self.total_ms += other.total_ms
        self.longest_ms = max(self.longest_ms, other.longest_ms)

    @property
    def mean_ms(self) -> float:
        """Exact; 0 when nothing was counted."""
        return self.total_ms / self.count if self.count else 0.0

    def percentile(self, share: float) -> float:
        """The duration that ``share`` (0 to 1) of all do not exceed, by nearest rank, within 5 %; 0 when nothing was counted."""
        rank = max(1, ceil(share * self.count))
        if rank >= self.count:
            return self.longest_ms
        bucket = bisect_left(list(accumulate(self._counts)), rank)
        # The last bucket has no upper end, so no middle.
        middle = self.longest_ms if bucket == _LAST else max(_MIDDLES[bucket], SHORTEST_MS)
        return min(middle, self.longest_ms)


class RecentDurations:
    """The durations of the last ``slices`` parts of time, the present one among them; older ones go. A part is made when it is needed."""

    __slots__ = ("_kept", "_slices")

    def __init__(self, slices: int) -> None:
        self._slices = slices
        self._kept: deque[Durations] = deque()

    def add(self, duration_ms: float, bucket: int, now: int) -> None:
        """Count one into part ``now``; parts only go up."""
        kept = self._kept
        if not kept or kept[-1].number < now:
            kept.append(Durations(now))
            self._forget(now)
        kept[-1].add(duration_ms, bucket)

    def until(self, now: int) -> Durations:
        """All of them together, as of part ``now``."""
        self._forget(now)
        whole = Durations(now)
        for part in self._kept:
            whole.merge(part)
        return whole

    def _forget(self, now: int) -> None:
        kept = self._kept
        while kept and kept[0].number <= now - self._slices:
            kept.popleft()
