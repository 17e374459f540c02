"""How many calls are under way at once, and when to come back for those that find no place."""

from math import ceil

from app.core.resilience import Clock

LONGEST_S = 60
_FIRST_GUESS_S = 1.0
_NEWEST = 0.2
"""How much the newest call counts in the mean of how long calls take."""


class Turns:
    """``most`` places. Who finds none is told when his turn may be: one after the other, as quickly as places became free of late, so that
    thousands that wait for a slow host do not all come back each second. His place is not kept for him: he may have to come once more.
    """

    def __init__(self, clock: Clock, most: int) -> None:
        if most < 1:
            raise ValueError("most must be 1 or more")
        self._clock = clock
        self._most = most
        self._mean_s = _FIRST_GUESS_S
        self._last_turn = 0.0
        self.in_use = 0

    @property
    def has_place(self) -> bool:
        """Whether another call may begin."""
        return self.in_use < self._most

    def next_turn_s(self) -> int:
        """Whole seconds, 1 to 60, after which one who found no place may come back. The next who asks comes after him."""
        now = self._clock.monotonic()
        self._last_turn = min(max(self._last_turn, now) + self._mean_s / self._most, now + LONGEST_S)
        return max(1, ceil(self._last_turn - now))

    def enter(self) -> float:
        """Take a place. Give what is returned to ``leave``."""
        self.in_use += 1
        return self._clock.monotonic()

    def leave(self, entered: float) -> None:
        """Give the place back."""
        self.in_use -= 1
        self._mean_s += _NEWEST * (self._clock.monotonic() - entered - self._mean_s)
