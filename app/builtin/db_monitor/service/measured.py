"""What this process measured of its own statements."""

from collections.abc import Iterable

from app.core.monitor import Measured, MeasuredQuery, StatementSort

_MOST = 1000


def measured_queries(
    measured: Measured | None,
    *,
    sort: StatementSort = "total",
    min_calls: int = 0,
    min_mean_ms: float = 0.0,
    route: str | None = None,
) -> list[MeasuredQuery]:
    """What was measured, most of ``sort`` first; of what only the server counts (rows, blocks, temp, wal) by the time taken."""
    found = measured.get_heaviest_queries(_MOST) if measured is not None else ()
    kept = [
        query
        for query in found
        if query.query_count >= min_calls
        and query.avg_duration_ms >= min_mean_ms
        and (route is None or route in routes_of(query))
    ]
    return sorted(kept, key=lambda query: -_measure(query, sort))


def routes_of(query: MeasuredQuery) -> list[str]:
    """Those that ran it, most often first."""
    return [route for route, _ in query.routes]


def by_text(queries: Iterable[MeasuredQuery]) -> dict[str, MeasuredQuery]:
    """The same by statement."""
    return {query.statement: query for query in queries}


def _measure(query: MeasuredQuery, sort: StatementSort) -> float:
    measures = {
        "mean": query.avg_duration_ms,
        "calls": float(query.query_count),
        "max": query.max_duration_ms,
    }
    return measures.get(sort, query.total_duration_ms)
