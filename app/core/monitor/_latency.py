"""How long statements take as the service sees it: on the way, in the pool's queue not, by shape and by route."""

from collections.abc import Callable
from dataclasses import asdict
from heapq import nlargest
from math import isfinite
from threading import Lock
from typing import Self
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.context import current_context
from app.core.db import Database, StatementTiming
from app.core.errors import ConfigurationError
from app.core.monitor._durations import bucket_of
from app.core.monitor._engines import sync_engine
from app.core.monitor._known_statements import known_statement
from app.core.monitor._latency_metrics import (
    LatencyMetrics,
    LatencySummary,
    QueryLatency,
    query_latency,
)
from app.core.monitor._latency_statements import TimedStatement, TimedStatements
from app.core.observability import DatabaseEvent, EventHub
from app.core.resilience import Clock, SystemClock

_SLICES = 5
_of_engines: "WeakKeyDictionary[Engine, QueryLatencyTracker]" = WeakKeyDictionary()


class QueryLatencyTracker:
    """Counts statements and their durations since the start and over the last ``window_s`` seconds, give or take a fifth of them.

    A statement is slow from ``slow_query_threshold_ms`` milliseconds on. At most ``max_statements`` shapes are kept, the heavy ones; no
    values, no text beyond 4,000 characters; 16 kB for each at most. Safe in threads. ``record_query`` by hand, ``attach`` for an engine,
    or ``subscribe`` for a hub that tells of statements; the service's own is subscribed from the start (``MONITOR__TRACK_LATENCY``) and
    costs a few microseconds a statement. Of one process: what others see, and since when the server counts, ``pg_stat_statements`` knows.
    Raises ConfigurationError for options outside their range.
    """

    def __init__(
        self,
        slow_query_threshold_ms: float = 100.0,
        *,
        window_s: float = 300.0,
        max_statements: int = 1000,
        clock: Clock | None = None,
    ) -> None:
        if not slow_query_threshold_ms >= 0 or not window_s > 0 or max_statements < 1:
            raise ConfigurationError(
                "needs slow_query_threshold_ms >= 0, window_s > 0 and max_statements >= 1"
            )
        self.slow_query_threshold_ms = slow_query_threshold_ms
        self.window_s = window_s
        self._slice_s = window_s / _SLICES
        self._max_statements = max_statements
        self._monotonic: Callable[[], float] = (clock or SystemClock()).monotonic
        self._lock = Lock()
        self._attached: WeakKeyDictionary[Engine, StatementTiming] = WeakKeyDictionary()
        self.clear()

    def clear(self) -> None:
        """Forget everything up to here."""
        with self._lock:
            self._statements = TimedStatements(self._max_statements, _SLICES)
            self._all = TimedStatement("", _SLICES, 0.0)

    def record_query(self, sql: str, duration_ms: float) -> None:
        """Count one run of ``sql``, for the route of the request in hand if there is one. Raises ValueError for a duration below 0."""
        if not (isfinite(duration_ms) and duration_ms >= 0):
            raise ValueError("duration_ms must be 0 or more")
        self._count(sql, duration_ms, has_failed=False)

    def _count(self, sql: str, duration_ms: float, *, has_failed: bool) -> None:
        shape, route = known_statement(sql).shape, current_context().route
        bucket, now = bucket_of(duration_ms), self._now()
        is_slow = duration_ms >= self.slow_query_threshold_ms
        with self._lock:
            timed = self._statements.of(shape)
            for each in (timed, self._all):
                each.add(duration_ms, bucket, now, is_slow=is_slow, has_failed=has_failed)
            if route is not None:
                timed.came_from(route)

    def _now(self) -> int:
        return int(self._monotonic() / self._slice_s)

    def get_metrics(self) -> LatencyMetrics:
        """All statements together."""
        with self._lock:
            of_all, statements = self._all, self._statements
            whole, recent = (
                LatencySummary.of(of_all.durations.whole()),
                LatencySummary.of(of_all.durations.recent(self._now())),
            )
            return LatencyMetrics(
                **asdict(whole),
                slow_query_count=of_all.slow,
                error_count=of_all.errors,
                statement_count=len(statements.by_shape),
                forgotten_count=statements.forgotten,
                window_s=self.window_s,
                recent=recent,
            )

    def get_slow_queries(self, limit: int = 5) -> list[QueryLatency]:
        """Statements of which at least one run was slow, the slowest by their mean first."""
        with self._lock:
            slow = [each for each in self._statements.by_shape.values() if each.slow]
            slowest = nlargest(max(0, limit), slow, key=lambda each: each.durations.mean_ms)
            return [query_latency(each, self._now()) for each in slowest]

    def get_heaviest_queries(self, limit: int = 5) -> list[QueryLatency]:
        """Statements by the time that they took in all, slow or not: where the database's time goes."""
        with self._lock:
            all_of_them = self._statements.by_shape.values()
            heaviest = nlargest(max(0, limit), all_of_them, key=lambda each: each.durations.total_ms)
            return [query_latency(each, self._now()) for each in heaviest]

    def subscribe(self, hub: EventHub) -> None:
        """Count every statement that this hub tells of from now on."""
        hub.subscribe(DatabaseEvent, self._on_statement)

    def attach(self, engine: AsyncEngine | Engine) -> None:
        """Count every statement of ``engine`` from now on; once, however often it is called.

        Not for the engine of a ``Database`` whose hub this is subscribed to: its statements would count twice.
        """
        sync = sync_engine(engine)
        if sync not in self._attached:
            hub = EventHub()
            self.subscribe(hub)
            self._attached[sync] = timing = StatementTiming(hub)
            timing.install(sync)

    @classmethod
    def of(cls, engine: AsyncEngine | Engine | Database) -> Self:
        """The tracker of ``engine``: made and attached when it is first asked for."""
        sync = sync_engine(engine)
        tracker = _of_engines.get(sync)
        if not isinstance(tracker, cls):
            tracker = _of_engines[sync] = cls()
            tracker.attach(sync)
        return tracker

    def detach(self, engine: AsyncEngine | Engine) -> None:
        """No longer."""
        timing = self._attached.pop(sync_engine(engine), None)
        if timing is not None:
            timing.remove(sync_engine(engine))

    def _on_statement(self, event: DatabaseEvent) -> None:
        self._count(event.statement, event.duration_s * 1000, has_failed=event.error is not None)
