"""Whether this process takes requests, and how many it is working on."""

import random
from collections.abc import Awaitable, Generator

from app.core.errors import Unavailable
from app.core.http._problem import REDUCED_CAPACITY

PROBES = frozenset({"/live", "/ready", "/metrics"})
"""Paths that are answered while the process drains or is full: whoever watches must not be shut out."""

_CROWD = 4

# The share of ``max_in_flight`` that requests of a priority may fill; what is above is kept for those that matter more.
_SHARES = {"critical": 1.0, "default": 0.95, "sheddable": 0.8}


class _Pause:
    """Lets the loop run what is ready, ``turns`` times."""

    __slots__ = ("_turns",)

    def __init__(self, turns: int) -> None:
        self._turns = turns

    def __await__(self) -> Generator[None, None, None]:
        for _ in range(self._turns):
            yield


_TURN, _NO_TURN = _Pause(1), _Pause(0)


class TrafficControl:
    """Shared by the edge, the probes and the lifespan of one application; one process, one event loop.

    The app answers 503 until ``pass_audit`` is called (only /live answers before) and again once it drains.
    ``in_flight`` counts requests from their first line to the end of their background tasks, ``shed`` those
    that were refused.
    """

    __slots__ = ("_audited", "_draining", "in_flight", "is_open", "max_in_flight", "shed")

    def __init__(self, *, max_in_flight: int = 1000, audited: bool = False) -> None:
        if max_in_flight < 1:
            raise ValueError("max_in_flight must be 1 or more")
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self.shed = 0
        self._audited = audited
        self._draining = False
        self.is_open = audited

    @property
    def is_draining(self) -> bool:
        """Whether the process is on its way out: no new work, /ready says 503."""
        return self._draining

    def pass_audit(self) -> None:
        """Let requests in; called once every route has been found gated."""
        self._audited = True
        self.is_open = not self._draining

    def drain(self) -> None:
        """Refuse new work from now on; what is in flight goes on. Cannot be undone."""
        self._draining = True
        self.is_open = False

    def admits(self, priority: str) -> bool:
        """Whether a request of this priority, already counted in ``in_flight``, may go on.

        Sheddable requests are refused when 80 % of ``max_in_flight`` are in hand, default ones at 95 %, critical ones by the edge alone.
        """
        return self.in_flight - 1 < _SHARES[priority] * self.max_in_flight

    def turn(self) -> Awaitable[None]:
        """Await it between two stages of a request: the other requests that are ready come to the same place first.

        A request runs through more code than the processor's nearest caches hold. One after the other, each finds them full of what it
        needs last; stage by stage, all but the first find what they need (cohort scheduling: Larus and Parkes, USENIX 2002). With
        everything on, this saves a quarter of a request's CPU time (docs/adr/0011). Alone, a request does not wait. It is a place where a
        request can be cancelled: what was taken before must be in safe hands.
        """
        return _TURN if self.in_flight >= _CROWD else _NO_TURN

    def refusal(self, path: str) -> str | None:
        """Why a request for ``path`` is not taken now, or None when it is."""
        if self._audited and path in PROBES:
            return None
        if not self._audited:
            return None if path == "/live" else "starting"
        if self._draining:
            return "draining"
        return "full" if self.in_flight >= self.max_in_flight else None


class Overloaded(Unavailable):
    """The process is so busy that requests of this priority are not taken."""

    type = REDUCED_CAPACITY

    def __init__(self) -> None:
        super().__init__(
            "The service is busy; requests of this kind wait.",
            retry_after=random.randint(1, 3),  # noqa: S311 - spreads the callers out, no secret
        )
