"""A database and its pool as they stand."""

from dataclasses import dataclass
from typing import Literal

ReplicaState = Literal["unknown", "close", "behind", "down", "no_standby"]


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """Connections of this process.

    ``limit`` at most, ``open`` now, of which ``checked_out`` in use and ``overflow`` above ``size``.
    """

    size: int
    limit: int
    open: int
    checked_out: int
    overflow: int

    @property
    def utilization_percent(self) -> float:
        """In use, of all that may be opened."""
        return 100.0 * self.checked_out / self.limit


@dataclass(frozen=True, slots=True)
class Probe:
    """One answer of the server.

    ``latency_s`` of a round trip, pool included, and its version, such as 18.1.
    """

    latency_s: float
    server_version: str


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What was found last. ``lag_s``: seconds behind the primary, at most; None where nobody can tell.

    ``state``: close (it gets the reads), behind (by more than the limit), down (it does not answer), no_standby (it is no longer, or
    never was, one), unknown (not asked yet, or the primary never told how far it is).
    """

    state: ReplicaState
    lag_s: float | None
