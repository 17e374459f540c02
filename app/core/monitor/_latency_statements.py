"""Durations by the statement that took them: a bounded number of statements, of which the heavy ones stay."""

from heapq import nsmallest
from typing import Final

from app.core.monitor._durations import PartedDurations

ROUTES_KEPT: Final = 20
"""Routes told by name for one statement; further ones share ``OTHER_ROUTES``."""
OTHER_ROUTES: Final = "(other)"


class TimedStatement:
    """One shape and its durations. ``weight`` is the time that it took, and what it may have taken before it was last forgotten."""

    __slots__ = ("durations", "errors", "routes", "shape", "slow", "weight")

    def __init__(self, shape: str, slices: int, weight: float) -> None:
        self.shape = shape
        self.durations = PartedDurations(slices)
        self.routes: dict[str, int] = {}
        self.slow = 0
        self.errors = 0
        self.weight = weight

    def add(self, duration_ms: float, bucket: int, now: int, *, is_slow: bool, has_failed: bool) -> None:
        """Count one run into part ``now`` of time."""
        self.durations.add(duration_ms, bucket, now)
        self.weight += duration_ms
        self.slow += is_slow
        self.errors += has_failed

    def came_from(self, route: str) -> None:
        """One run more for ``route``."""
        routes = self.routes
        if route not in routes and len(routes) >= ROUTES_KEPT:
            route = OTHER_ROUTES
        routes[route] = routes.get(route, 0) + 1


class TimedStatements:
    """At most ``most`` shapes, of which those that take the most time stay (space-saving: Metwally and others, 2005).

    When there is no room a tenth goes, the lightest, so that room costs little for each. A shape that is new, or comes back, starts with
    the weight of the heaviest that was forgotten: one that has taken a larger part of all time than about ``1 / most`` is never missing
    for long. What it took before it came back is not in its numbers.
    """

    __slots__ = ("_floor", "_most", "_slices", "by_shape", "forgotten")

    def __init__(self, most: int, slices: int) -> None:
        self._most = most
        self._slices = slices
        self._floor = 0.0
        self.by_shape: dict[str, TimedStatement] = {}
        self.forgotten = 0

    def of(self, shape: str) -> TimedStatement:
        """The statement of this shape, a new one if need be."""
        found = self.by_shape.get(shape)
        if found is None:
            if len(self.by_shape) >= self._most:
                self._make_room()
            found = self.by_shape[shape] = TimedStatement(shape, self._slices, self._floor)
        return found

    def _make_room(self) -> None:
        going = nsmallest(max(1, self._most // 10), self.by_shape.values(), key=lambda each: each.weight)
        for each in going:
            del self.by_shape[each.shape]
        self._floor = going[-1].weight
        self.forgotten += len(going)
