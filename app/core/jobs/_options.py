"""The options of a declared job."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.core.errors import ConfigurationError
from app.core.jobs._broker import PRIORITIES, Priority
from app.core.policies import JobConfig
from app.core.resilience import doubled_pause

_NAME = re.compile(r"[a-z][a-z0-9_]{0,58}")

WORK = JobConfig(rate_limit=None, timeout=300, metrics=False)
"""The policy of a job that names none: whoever could submit it, five minutes. Jobs have metrics of their own, by name and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What ``@job`` was told; see there. Sizes are bytes of JSON. Raises ConfigurationError for options out of range."""

    name: str
    queue: str = "default"
    attempts: int = 5
    backoff_s: float = 2.0
    longest_backoff_s: float = 600.0
    priority: Priority = "normal"
    config: JobConfig = WORK
    cron: str | None = None
    time_zone: str = "UTC"
    unique: Callable[[Any], str] | None = None
    max_arguments: int = 65_536
    max_result: int = 262_144

    def __post_init__(self) -> None:
        for field in ("name", "queue"):
            if not _NAME.fullmatch(getattr(self, field)):
                raise ConfigurationError(
                    f"A job's {field} must match {_NAME.pattern}, not {getattr(self, field)!r}"
                )
        self._require(1 <= self.attempts <= 100, "attempts must be 1 to 100")
        self._require(
            0 <= self.backoff_s <= self.longest_backoff_s <= 86_400, "backoff must be 0 to 86,400 s"
        )
        self._require(self.priority in PRIORITIES, f"priority must be one of {', '.join(PRIORITIES)}")
        self._require(
            self.config.credits is None,
            "credits are charged where the job is submitted, by the endpoint's own config",
        )
        self._require(self.config.timeout is not None, "a timeout is needed: a job that hangs holds a place")

    def _require(self, is_so: bool, words: str) -> None:
        if not is_so:
            raise ConfigurationError(f"The job {self.name}: {words}")

    def backoff(self, attempt: int, rng: Callable[[], float]) -> float:
        """Seconds to wait after failure number ``attempt``: doubled each time up to the longest, of which a random part from half to all
        ("equal jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). ``rng``: 0 to 1.
        """
        longest = doubled_pause(self.backoff_s, attempt - 1, self.longest_backoff_s)
        return longest * (0.5 + 0.5 * rng())
