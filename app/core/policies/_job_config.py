"""One object per endpoint: which policies apply, with which options. Frozen, checked when built, ``None`` = not used."""

from dataclasses import dataclass
from typing import Self

from app.core.policies._rate_limit import RateLimit
from app.core.policies._security import Security

PER_PRINCIPAL = RateLimit(name="user", algorithm="token_bucket", quota=600, window=60, burst=60)
PER_IP = RateLimit(name="ip", algorithm="token_bucket", quota=300, window=60, burst=60, scope="ip")

# Scopes whose keys live in the caller's own Cluster slot; a set that must be atomic may use no other (reference: slots).
_CALLERS_SLOT = frozenset(("user", "api_key"))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfig:
    """What guards an endpoint. ``JobConfig()`` alone is safe for production.

    | field      | default                      | None means |
    |------------|------------------------------|------------|
    | security   | a valid token                | refused: use ``JobConfig.public()`` |
    | rate_limit | 600 a minute per principal, 60 at once | no limit |
    | timeout    | 30 seconds for the handler   | no deadline |
    | max_body   | 1,048,576 bytes              | the service's own cap |
    | metrics    | handler times in ``api_latency_seconds`` | (boolean) |
    | tracing    | a span around the handler, when the service traces | (boolean) |
    | logging    | a line in the access log; 500 and above are always logged | (boolean) |
    | atomic     | False: all limits in one step on one server; on a Cluster limits of other slots in steps of their own | |

    ``rate_limit`` takes one limit or a tuple; all must agree, and what each is charged when another refuses is its own ``charge``.
    Raises ValueError for options that contradict each other.
    """

    security: Security = Security()  # noqa: RUF009 - frozen
    rate_limit: RateLimit | tuple[RateLimit, ...] | None = PER_PRINCIPAL
    timeout: float | None = 30.0
    max_body: int | None = 1_048_576
    metrics: bool = True
    tracing: bool = True
    logging: bool = True
    atomic: bool = False

    def __post_init__(self) -> None:
        if self.security is None:
            raise ValueError(
                "JobConfig.security cannot be None; JobConfig.public() is the way to let anonymous callers in"
            )
        if self.timeout is not None and not 0 < self.timeout <= 3600:
            raise ValueError(
                f"JobConfig.timeout must be more than 0 and at most 3600 seconds, not {self.timeout}"
            )
        if self.max_body is not None and self.max_body < 0:
            raise ValueError(f"JobConfig.max_body must not be negative, not {self.max_body}")
        names = [limit.name for limit in self.limits]
        if len(set(names)) != len(names):
            raise ValueError(f"JobConfig.rate_limit: names must differ, not {names}")
        shared = [limit.shared for limit in self.limits if limit.shared is not None]
        if len(set(shared)) != len(shared):
            raise ValueError(
                f"JobConfig.rate_limit: two limits of one endpoint cannot share one bucket, as in {shared}"
            )
        if self.security.anonymous and not any(
            "ip" in limit.scopes and not limit.shadow for limit in self.limits
        ):
            raise ValueError("JobConfig.public() keeps a limit per IP: add one with scope='ip'")

    @property
    def limits(self) -> tuple[RateLimit, ...]:
        """The rate limits as a tuple, in order."""
        if self.rate_limit is None:
            return ()
        return (self.rate_limit,) if isinstance(self.rate_limit, RateLimit) else self.rate_limit

    @property
    def outside_slot(self) -> tuple[str, ...]:
        """Names of the limits that cannot share the caller's slot of a Cluster; must be empty when ``atomic``."""
        return tuple(limit.name for limit in self.limits if not _CALLERS_SLOT.intersection(limit.scopes))

    @classmethod
    def public(
        cls,
        *,
        rate_limit: RateLimit | tuple[RateLimit, ...] = PER_IP,
        timeout: float | None = 30.0,
        max_body: int | None = 1_048_576,
        metrics: bool = True,
        tracing: bool = True,
        logging: bool = True,
    ) -> Self:
        """Open to anonymous callers, with a limit per IP (300 a minute, 60 at once). A token that is presented must be valid."""
        return cls(
            security=Security(anonymous=True), rate_limit=rate_limit, timeout=timeout, max_body=max_body,
            metrics=metrics, tracing=tracing, logging=logging,
        )  # fmt: skip
