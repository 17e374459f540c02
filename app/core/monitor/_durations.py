"""How long things took, in memory that does not grow: a histogram whose buckets are a tenth wide."""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from itertools import accumulate
from math import ceil, log
from typing import Final

SHORTEST_MS: Final = 0.01
"""What took less is told as this much."""
_WIDTH = 1.1
_STEP = 1 / log(_WIDTH)
_LAST = 208  # Begins above 3,600,000 ms, an hour; what took longer is told as the longest that there was.
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


class PartedDurations:
    """Durations since the start, of which the last ``slices`` parts of time are kept apart, the present one among them. Each is counted in
    one place only; a part that has passed is added to what was before.
    """

    __slots__ = ("_before", "_last", "_parts", "_slices")

    def __init__(self, slices: int) -> None:
        self._slices = slices
        self._before: Durations | None = None
        self._parts: deque[Durations] = deque()
        self._last = Durations(-1)

    def add(self, duration_ms: float, bucket: int, now: int) -> None:
        """Count one into part ``now``; parts only go up."""
        last = self._last
        if last.number < now:
            self._settle(now)
            last = self._last = Durations(now)
            self._parts.append(last)
        last.add(duration_ms, bucket)

    def whole(self) -> Durations:
        """All of them."""
        before = [self._before] if self._before is not None else []
        return _sum((*before, *self._parts))

    def recent(self, now: int) -> Durations:
        """Those of the last parts, as of part ``now``."""
        self._settle(now)
        return _sum(self._parts)

    @property
    def mean_ms(self) -> float:
        """Of all of them."""
        count = sum(part.count for part in self._parts) + (self._before.count if self._before else 0)
        return self.total_ms / count if count else 0.0

    @property
    def total_ms(self) -> float:
        """Of all of them."""
        return sum(part.total_ms for part in self._parts) + (self._before.total_ms if self._before else 0.0)

    def _settle(self, now: int) -> None:
        parts = self._parts
        while parts and parts[0].number <= now - self._slices:
            if self._before is None:
                self._before = parts.popleft()
            else:
                self._before.merge(parts.popleft())


def _sum(parts: Iterable[Durations]) -> Durations:
    together = Durations()
    for part in parts:
        together.merge(part)
    return together
