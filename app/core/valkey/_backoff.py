"""How long to wait before knocking again."""

import random
from typing import final

from app.core.resilience import Clock, doubled_pause

_FIRST_S = 0.05
_LONGEST_S = 1.0
# A connection that lived this long was a good one: its end starts a new count. One that dies younger is part
# of the same trouble.
_SETTLED_S = 5.0


@final
class Backoff:
    """Delays in seconds: 0, then 0.05 doubling up to 1, each up to a quarter shorter so that processes do not
    knock in step.

    After the loss of a connection the count begins with the number of connections in a row that died young, so
    that a server which drops us again and again is not stormed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._random = random.Random()  # noqa: S311 - spreads load, guards nothing
        self._tries = 0
        self._died_young = 0
        self._connected_at: float | None = None

    def next_delay(self) -> float:
        """Seconds to wait before the next attempt."""
        if self._connected_at is not None:
            has_settled = self._clock.monotonic() - self._connected_at >= _SETTLED_S
            self._tries = 0 if has_settled else self._died_young
            self._died_young = 0 if has_settled else self._died_young + 1
            self._connected_at = None
        tries = self._tries
        self._tries += 1
        if tries == 0:
            return 0.0
        longest = doubled_pause(_FIRST_S, tries - 1, _LONGEST_S)
        return longest * self._random.uniform(0.75, 1.0)

    def connected(self) -> None:
        """An attempt succeeded."""
        self._connected_at = self._clock.monotonic()
