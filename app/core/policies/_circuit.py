"""Circuit breaker: an endpoint that needs something which keeps failing is answered 503 at once, before it costs anybody anything."""

from collections.abc import Callable
from dataclasses import dataclass

from app.core.errors import Unavailable
from app.core.policies._words import between, named
from app.core.resilience import BreakerRules


class CircuitOpen(Unavailable):
    """What this endpoint needs is failing; ``retry_after`` says when it is tried again."""


def _is_failure(error: BaseException) -> bool:
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    return status is None or (isinstance(status, int) and status >= 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker(BreakerRules):
    """A breaker per named dependency and process; endpoints that name the same dependency share it, and must give equal numbers.

    dependency: what the handler needs, for example ``weather_api``. Never a user's name.
    failure_rate, slow_rate: shares of the calls in ``window`` seconds (1 to 3600) that open it, 0.01 to 1; a call is slow after
        ``slow_after`` seconds.
    min_calls: fewer calls than this in the window prove nothing.
    open_for: seconds it stays open, 0.05 to 3600, doubled at each failed probe up to ``open_most``.
    probes: calls that may find out at once whether it works again, 1 to 1000; each is a lease of ``probe_lease`` seconds.
    records: which exceptions count as failures; by default all but those with a status below 500. Cancellation, refusals of policies
        and our own 503 never count.
    """

    dependency: str
    records: Callable[[BaseException], bool] = _is_failure

    def __post_init__(self) -> None:
        named("Breaker", "dependency", [self.dependency])
        between("Breaker", "failure_rate", self.failure_rate, 0.01, 1)
        between("Breaker", "slow_rate", self.slow_rate, 0.01, 1)
        between("Breaker", "slow_after", self.slow_after, 0.001, 3600)
        between("Breaker", "window", self.window, 1, 3600)
        between("Breaker", "min_calls", self.min_calls, 1, 1_000_000)
        between("Breaker", "open_for", self.open_for, 0.05, 3600)
        between("Breaker", "open_most", self.open_most, self.open_for, 86_400)
        between("Breaker", "probes", self.probes, 1, 1000)
        between("Breaker", "probe_lease", self.probe_lease, 0.05, 3600)
