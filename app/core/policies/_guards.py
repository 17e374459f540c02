"""The breakers of one policy: a call has leave from all of them or is not made, and each hears what became of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from app.core.db import translate
from app.core.errors import PolicyRejected
from app.core.policies._circuit import Breaker, CircuitOpen
from app.core.policies._concurrency import NoCapacity
from app.core.policies._credits import CreditsUnavailable
from app.core.policies._refusals import LimitUnavailable
from app.core.resilience import Breakers, Leave, RollingBreaker

_SPREAD = 0.1

NEUTRAL = (PolicyRejected, CircuitOpen, NoCapacity, LimitUnavailable, CreditsUnavailable)
"""Ours, not the dependency's: neither counted by breakers nor tried again."""


class _Guard(NamedTuple):
    breaker: RollingBreaker
    records: Callable[[BaseException], bool]


class Watched:
    """What a call returned: an answer with a status of 500 or more counts as a failure."""

    __slots__ = ("result",)

    def __init__(self) -> None:
        self.result: object = None


class Guards:
    """Of one policy, over breakers that all policies share. Raises ConfigurationError if their numbers differ from another endpoint's.

    ``rng`` returns 0 to 1 and spreads the callers who are told to come back.
    """

    def __init__(
        self, policy: str, options: Sequence[Breaker], *, breakers: Breakers, rng: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._rng = rng
        self._guards = tuple(_Guard(breakers.get(each), each.records) for each in options)

    def __bool__(self) -> bool:
        return bool(self._guards)

    def open_circuit(self) -> CircuitOpen | None:
        """The refusal that a call made now would get, or None. Takes no place and counts nothing."""
        for guard in self._guards:
            wait = guard.breaker.retry_after_s()
            if wait > 0:
                return self._refusal(wait)
        return None

    @contextmanager
    def watched(self) -> Iterator[Watched]:
        """Around a call: leave first, and a verdict at the end. Put what it returned into ``result``. Raises CircuitOpen."""
        leaves = self._leaves() if self._guards else ()
        watched = Watched()
        try:
            yield watched
        except BaseException as error:
            _give_verdict(leaves, error)
            raise
        status = getattr(watched.result, "status_code", None)
        has_failed = isinstance(status, int) and status >= 500
        for _, leave in leaves:
            leave.failed() if has_failed else leave.succeeded()

    def _leaves(self) -> tuple[tuple[_Guard, Leave], ...]:
        """Leave from every breaker, or from none. Raises CircuitOpen."""
        leaves: list[tuple[_Guard, Leave]] = []
        for guard in self._guards:
            leave = guard.breaker.try_acquire()
            if leave is None:
                for _, earlier in leaves:
                    earlier.abandoned()
                raise self._refusal(guard.breaker.retry_after_s())
            leaves.append((guard, leave))
        return tuple(leaves)

    def _refusal(self, wait: float) -> CircuitOpen:
        return CircuitOpen(
            "Something that this endpoint needs is failing.",
            retry_after=max(1, ceil(wait * (1 + _SPREAD * self._rng()))),
            extensions={"policy": self._policy, "reason": "circuit_open"},
        )


def _give_verdict(leaves: tuple[tuple[_Guard, Leave], ...], error: BaseException) -> None:
    if isinstance(error, SQLAlchemyError):
        error = translate(error)
    counts = isinstance(error, Exception) and not isinstance(error, NEUTRAL)
    for guard, leave in leaves:
        if counts and guard.records(error):
            leave.failed()
        else:
            leave.abandoned()
