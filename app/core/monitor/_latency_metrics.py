"""What ``QueryLatencyTracker`` tells."""

from dataclasses import asdict, dataclass

from app.core.monitor._durations import Durations
from app.core.monitor._latency_statements import TimedStatement


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Durations of some statements, in milliseconds. Percentiles are within 5 %, the rest is exact."""

    query_count: int
    avg_duration_ms: float
    max_duration_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, durations: Durations) -> "LatencySummary":
        """Rounded to a microsecond."""
        numbers = (
            durations.mean_ms,
            durations.longest_ms,
            *(durations.percentile(share) for share in (0.5, 0.95, 0.99)),
        )
        return cls(durations.count, *(round(number, 3) for number in numbers))


@dataclass(frozen=True, slots=True)
class LatencyMetrics(LatencySummary):
    """All statements since the start; ``recent`` those of the last ``window_s`` seconds.

    slow_query_count: runs that took the threshold or longer. error_count: runs that failed. statement_count: shapes known at present.
    forgotten_count: shapes that made room for heavier ones, each time counted.
    """

    slow_query_count: int
    error_count: int
    statement_count: int
    forgotten_count: int
    window_s: float
    recent: LatencySummary


@dataclass(frozen=True, slots=True)
class QueryLatency(LatencySummary):
    """One statement by its shape, without values. ``routes``: how often each endpoint ran it, most often first; ``(other)`` are further
    ones. ``recent``: the last minutes.
    """

    statement: str
    total_duration_ms: float
    slow_query_count: int
    error_count: int
    routes: tuple[tuple[str, int], ...]
    recent: LatencySummary


def query_latency(timed: TimedStatement, now: int) -> QueryLatency:
    """What is known of one statement as of part ``now`` of time."""
    return QueryLatency(
        **asdict(LatencySummary.of(timed.durations.whole())),
        statement=timed.shape,
        total_duration_ms=round(timed.durations.total_ms, 3),
        slow_query_count=timed.slow,
        error_count=timed.errors,
        routes=tuple(sorted(timed.routes.items(), key=lambda route: (-route[1], route[0]))),
        recent=LatencySummary.of(timed.durations.recent(now)),
    )
