"""Everything that says whether a database is well, in one report."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Final, TypeVar

from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.db import AsyncSession, Database, translate_errors
from app.core.errors import GatehouseError
from app.core.monitor._errors import monitor_errors
from app.core.monitor._index_usage import UnusedIndex
from app.core.monitor._index_usage_analyzer import IndexUsageAnalyzer
from app.core.monitor._latency import QueryLatencyTracker
from app.core.monitor._latency_metrics import LatencyMetrics, QueryLatency
from app.core.monitor._panel import Panel, panel
from app.core.monitor._pool_monitor import ConnectionPoolMonitor
from app.core.monitor._server_counters import ServerCounters, server_counters
from app.core.monitor._session_asked import SessionAsked
from app.core.monitor._table_size_monitor import TableSizeMonitor
from app.core.monitor._table_sizes import TableSize

T = TypeVar("T")
MEAN_ALERT_MS: Final = 200.0
"""A mean of all statements from which on somebody should be told."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What ``run_full_check`` found. ``reasons``: why it is not healthy, in words. The last three may have failed alone: then ``value`` is
    None and ``reason`` says why.
    """

    healthy: bool
    reasons: tuple[str, ...]
    latency_ms: float | None
    pool: dict[str, Any]
    queries: LatencyMetrics
    slow_queries: tuple[QueryLatency, ...]
    server: Panel[ServerCounters]
    unused_indexes: Panel[tuple[UnusedIndex, ...]]
    largest_tables: Panel[tuple[TableSize, ...]]


class DatabaseHealthCheck:
    """Looks at the pool of ``engine``, at how long its statements take, and, through ``session``, at the server, its indexes and tables.

    Statements count from the first check of an engine on, or from before where ``latency`` is the tracker that watches it already (the
    service provides its own: ``platform.require(QueryLatencyTracker)``). What the server is asked joins the session's transaction. A
    server that does not answer is no error here: it is not healthy. Each part of the full check fails alone.
    """

    def __init__(
        self,
        engine: AsyncEngine | Engine | Database,
        session: AsyncSession,
        *,
        latency: QueryLatencyTracker | None = None,
    ) -> None:
        self.pool_monitor = ConnectionPoolMonitor(engine)
        self.latency_tracker = latency or QueryLatencyTracker.of(engine)
        self.index_analyzer = IndexUsageAnalyzer(session)
        self.table_monitor = TableSizeMonitor(session)
        self._session = session
        self._asked = SessionAsked(session)

    async def is_healthy(self, max_pool_utilization: float = 85.0, max_avg_query_time: float = 200.0) -> bool:
        """Whether the server answers, less than ``max_pool_utilization`` percent of the pool are in use, and statements of the last
        minutes took less than ``max_avg_query_time`` milliseconds on average.
        """
        return not (await self._reasons(max_pool_utilization, max_avg_query_time))[0]

    async def get_health_status(self) -> dict[str, Any]:
        """``healthy`` and ``reasons``, ``latency_ms`` of one answer (None: there was none), ``pool`` as of
        ``ConnectionPoolMonitor.get_metrics_summary`` and ``queries`` as of ``QueryLatencyTracker.get_metrics``.
        """
        pool = self.pool_monitor.get_metrics_summary()
        reasons, latency_ms = await self._reasons()
        return {
            "healthy": not reasons,
            "reasons": reasons,
            "latency_ms": latency_ms,
            "pool": pool,
            "queries": asdict(self.latency_tracker.get_metrics()),
        }

    async def run_full_check(self) -> HealthReport:
        """All of it, and what the server counts."""
        pool = self.pool_monitor.get_metrics_summary()
        reasons, latency_ms = await self._reasons()
        return HealthReport(
            healthy=not reasons,
            reasons=tuple(reasons),
            latency_ms=latency_ms,
            pool=pool,
            queries=self.latency_tracker.get_metrics(),
            slow_queries=tuple(self.latency_tracker.get_slow_queries()),
            server=await self._part("health.server", lambda: server_counters(self._asked)),
            unused_indexes=await self._part("health.indexes", self.index_analyzer.get_unused_indexes),
            largest_tables=await self._part("health.tables", self.table_monitor.get_largest_tables),
        )

    async def _reasons(
        self, most_percent: float = 85.0, most_ms: float = MEAN_ALERT_MS
    ) -> tuple[list[str], float | None]:
        # Before the session takes a connection of the pool for the question below.
        percent = self.pool_monitor.get_current_metrics().pool_utilization_percent
        mean = self.latency_tracker.get_metrics().recent.avg_duration_ms
        latency_ms = await self._answer_ms()
        checks = (
            (latency_ms is None, "the server does not answer"),
            (percent >= most_percent, f"{percent} % of the pool are in use"),
            (mean >= most_ms, f"statements of the last minutes took {mean} ms on average"),
        )
        return [reason for failed, reason in checks if failed], latency_ms

    async def _answer_ms(self) -> float | None:
        started = perf_counter()
        try:
            with translate_errors():
                await self._session.execute(text("SELECT 1"))
        except (GatehouseError, SQLAlchemyError, OSError):
            return None
        return round((perf_counter() - started) * 1000, 3)

    async def _part(self, name: str, question: Callable[[], Awaitable[T]]) -> Panel[T]:
        """One question in a savepoint of its own: where it fails the transaction goes on."""

        async def asked() -> T:
            with monitor_errors():
                async with self._session.begin_nested():
                    return await question()

        return await panel(name, asked)
