"""One piece of work that is done every so often."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_NAME = re.compile(r"[a-z][a-z0-9_.]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Periodic:
    """Declared in a feature's ``jobs.py``, run by whoever the door gives it to.

    name: for logs, metrics and the lock; unique in the service. every_s: seconds from the end of one run to the start of the next, give or
        take a tenth; 0.1 to a day. work: one run; it must be harmless when it is done twice or by two processes at once, because a process
        can lose its leadership in the middle of it.
    leader: only one process of all does it; False: every process does.
    limit_s: a run that takes longer is cancelled and counts as failed; 1 second to an hour.

    Not for what must happen at a time of day, or exactly once. Raises ValueError for options outside their range.
    """

    name: str
    every_s: float
    work: Callable[[], Awaitable[object]]
    leader: bool = True
    limit_s: float = 60.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"Periodic.name must match {_NAME.pattern}, not {self.name!r}")
        if not 0.1 <= self.every_s <= 86_400:
            raise ValueError(f"Periodic.every_s must be 0.1 to 86,400 seconds, not {self.every_s}")
        if not 1 <= self.limit_s <= 3600:
            raise ValueError(f"Periodic.limit_s must be 1 to 3600 seconds, not {self.limit_s}")
