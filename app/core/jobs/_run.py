"""What a handler knows of the run it is in, and may say about it."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from app.core.errors import ConfigurationError
from app.core.jobs._keepable import keepable_text
from app.core.jobs._records import ClaimedJob

T = TypeVar("T")
_MOST_NOTE, _MOST_COST = 200, 2**63 - 1


class Reports(Protocol):
    """Where a run says how far it is: the worker, or the pipe to it."""

    def progress(self, fraction: float, note: str | None) -> None:
        """Keep it for the next sign of life. Cheap; only the last one counts."""

    def cost(self, micro: int) -> None:
        """What the job costs in the end."""


class JobRun:
    """One attempt at one job. ``attempt`` counts from 1. ``submitter``: on whose behalf; None for the service's own jobs."""

    __slots__ = ("_reports", "_require", "attempt", "id", "name", "submitter")

    def __init__(
        self,
        claimed: ClaimedJob,
        reports: Reports,
        require: Callable[[type[Any]], Any] | None = None,
    ) -> None:
        self.id = claimed.id
        self.name = claimed.name
        self.attempt = claimed.attempt
        self.submitter = claimed.submitter
        self._reports = reports
        self._require = require

    def progress(self, fraction: float, note: str | None = None) -> None:
        """Say how far it is: 0 to 1, with up to 200 characters for people. Call it as often as you like: it is stored every second or so.

        Raises ValueError for a fraction out of range.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"progress must be 0 to 1, not {fraction}")
        self._reports.progress(float(fraction), keepable_text(note, _MOST_NOTE) if note else None)

    def set_cost(self, micro: int) -> None:
        """What the submitter pays in the end, in micro-credits, in place of what was charged when he submitted it: less is given back, more
        is charged, both only if the job succeeds. The last call counts. Raises ValueError for less than 0 and more than 64 bits.
        """
        if type(micro) is not int or not 0 <= micro <= _MOST_COST:
            raise ValueError(f"a cost must be whole micro-credits, 0 to {_MOST_COST}, not {micro!r}")
        self._reports.cost(micro)

    def require(self, kind: type[T]) -> T:
        """What a feature provides under this type, as handlers of requests get it. Raises ConfigurationError when no feature provides it,
        and in a process of the pool, which has nothing but the job's arguments.
        """
        if self._require is None:
            raise ConfigurationError(
                f"A job in a process of its own has no {kind.__name__}: make it an async function, or give it what it needs as arguments"
            )
        found: T = self._require(kind)
        return found
