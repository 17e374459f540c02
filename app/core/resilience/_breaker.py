"""A circuit breaker: stops asking something that keeps failing, and lets one caller at a time find out
whether it is back.

closed ──(k failures in a row)──> open ──(open_s)──> half open: one probe ──success──> closed
                                   ^                                     └──failure──> open
"""

from dataclasses import dataclass
from typing import final

from app.core.resilience._clock import Clock, SystemClock


@final
@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """Leave to make one call. Give exactly one verdict on it; none at all (a cancelled caller) counts for
    nothing.

    A permit belongs to the state in which it was given: a verdict that arrives after the breaker has changed
    is ignored, so a call that started before an outage cannot end it.
    """

    breaker: "CircuitBreaker"
    probe_number: int | None
    generation: int

    def succeeded(self) -> None:
        """The call was answered."""
        self.breaker._succeeded(self)  # noqa: SLF001 - the two classes are one unit

    def failed(self) -> None:
        """The call failed in a way that says the other side is unwell."""
        self.breaker._failed(self)  # noqa: SLF001

    def abandoned(self) -> None:
        """The caller went away: no verdict. Frees a probe for the next caller at once."""
        self.breaker._abandoned(self)  # noqa: SLF001


class CircuitBreaker:
    """Counts failures in a row. Not thread-safe: one per event loop.

    ``failures``: how many in a row open it, 1 or more. ``open_s``: seconds it refuses before a probe.
    ``lease_s``: seconds after which a probe that gave no verdict no longer blocks the next one. Raises
    ``ValueError`` for other values. Do not use it for errors that the caller caused: they say nothing about
    the other side.
    """

    def __init__(
        self, *, failures: int = 5, open_s: float = 1.0, lease_s: float = 5.0, clock: Clock | None = None
    ) -> None:
        if failures < 1:
            raise ValueError("failures must be 1 or more")
        if open_s <= 0 or lease_s <= 0:
            raise ValueError("open_s and lease_s must be more than 0 seconds")
        self._limit = failures
        self._open_s = open_s
        self._lease_s = lease_s
        self._clock = clock or SystemClock()
        self._opened_at: float | None = None
        self._probe_until = 0.0
        self._probe_number = 0
        self._begin(generation=0)

    def _begin(self, *, generation: int) -> None:
        self._generation = generation
        self._in_a_row = 0
        # One shared permit per closed period: the usual case costs no allocation.
        self._permit = Permit(self, None, generation)

    @property
    def state(self) -> str:
        """closed, open, or half_open: ``half_open`` once a probe is due, whether or not one is running."""
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._clock.monotonic() - self._opened_at >= self._open_s else "open"

    @property
    def is_closed(self) -> bool:
        """Whether calls flow freely."""
        return self._opened_at is None

    @property
    def permit(self) -> Permit:
        """The permit of the present period, for callers that share one long-lived connection and report on
        it.
        """
        return self._permit

    def try_acquire(self) -> Permit | None:
        """Leave to call, or None when the call would be refused.

        In the half-open state only one caller holds a probe.
        """
        if self._opened_at is None:
            return self._permit
        now = self._clock.monotonic()
        if now - self._opened_at < self._open_s or now < self._probe_until:
            return None
        self._probe_until = now + self._lease_s
        self._probe_number += 1
        return Permit(self, self._probe_number, self._generation)

    def retry_after(self) -> float:
        """Seconds until a probe may be tried; 0 when closed or due."""
        if self._opened_at is None:
            return 0.0
        now = self._clock.monotonic()
        return max(0.0, self._opened_at + self._open_s - now, self._probe_until - now)

    def trip(self) -> None:
        """Open now, without counting: the caller knows that the other side is gone."""
        self._opened_at = self._clock.monotonic()
        self._probe_until = 0.0
        self._begin(generation=self._generation + 1)

    def reset(self) -> None:
        """Close now: the caller knows that the other side is back."""
        self._opened_at = None
        self._begin(generation=self._generation + 1)

    def _succeeded(self, permit: Permit) -> None:
        if self._is_current(permit):
            if permit.probe_number is None:
                self._in_a_row = 0
            else:
                self.reset()

    def _failed(self, permit: Permit) -> None:
        if self._is_current(permit):
            self._in_a_row += 1
            if permit.probe_number is not None or self._in_a_row >= self._limit:
                self.trip()

    def _abandoned(self, permit: Permit) -> None:
        if permit.probe_number is not None and self._is_current(permit):
            self._probe_until = 0.0

    def _is_current(self, permit: Permit) -> bool:
        # A probe whose lease ran out was replaced by a newer one; its late verdict must not close or reopen
        # the breaker.
        same_period = permit.generation == self._generation
        return same_period and (permit.probe_number is None or permit.probe_number == self._probe_number)
