"""Many events counted at once, with the numbers that one by one would give."""

from bisect import bisect_right
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from prometheus_client import Histogram

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


def taken(waiting: deque[T]) -> list[T]:
    """What waits, the oldest first; it waits no longer. Safe in any thread: each item is taken once."""
    batch: list[T] = []
    take, keep = waiting.popleft, batch.append
    try:
        while True:
            keep(take())
    except IndexError:
        return batch


def tally(items: Iterable[H]) -> dict[H, int]:
    """How often each occurs. For the few items of a batch ``collections.Counter`` takes longer to be made than to count."""
    times: dict[H, int] = {}
    for item in items:
        times[item] = times.get(item, 0) + 1
    return times


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Observe all values: every bucket is raised once, and the sum.

    Buckets are as ``observe`` fills them; the sum may differ from its in the last bit, as the values are added in another order. Not for
    NaN. A histogram with labels must be one of its children.
    """
    if len(values) == 1:
        histogram.observe(values[0])
        return
    ordered = sorted(values)
    # The library has no public way to count several at once. Its version is locked, and a test compares this with ``observe``.
    histogram._sum.inc(sum(ordered))  # noqa: SLF001
    total, below = len(ordered), 0
    for bound, bucket in zip(histogram._upper_bounds, histogram._buckets, strict=True):  # noqa: SLF001
        within = bisect_right(ordered, bound, below)
        if within > below:
            bucket.inc(within - below)
            if within == total:
                return
            below = within
