"""One run of a handler, or of work that is no request: timed, and reported when it ends."""

import asyncio
from time import monotonic

from app.core.errors import DeadlineExceeded
from app.core.observability._events import EventHub, WorkEvent


class Run:
    """``with Run(hub, policy):`` around it emits a ``WorkEvent``, however it ends. Without a hub nothing is reported.

    A class and not a generator, because one is made per request.
    """

    __slots__ = ("_hub", "_policy", "_started")

    def __init__(self, hub: EventHub | None, policy: str) -> None:
        self._hub = hub
        self._policy = policy

    def __enter__(self) -> None:
        self._started = monotonic()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._hub is not None:
            self._hub.emit(WorkEvent(self._policy, monotonic() - self._started, _outcome_of(error)))


def _outcome_of(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, DeadlineExceeded):
        return "timeout"
    return "cancelled" if isinstance(error, (asyncio.CancelledError, GeneratorExit)) else "error"
