"""Whether this process should get requests."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from app.builtin.health.schemas import Alert, DatabaseHealth, Pool, ReplicaState, StatementLatency
from app.core.db import Database, DatabaseUnavailable, PoolStatus, is_at_head
from app.core.errors import Unavailable
from app.core.http import Platform
from app.core.monitor import MEAN_ALERT_MS, POOL_ALERT_PERCENT, LatencyMetrics, QueryLatencyTracker
from app.core.resilience import Clock

Ping = Callable[[], Awaitable[None]]
_log = structlog.get_logger(__name__)


class NotReady(Unavailable):
    """Names what failed, under ``failing``; why is in the log."""

    def __init__(self, failing: tuple[str, ...]) -> None:
        super().__init__("This instance takes no requests now", extensions={"failing": list(failing)})
        self.failing = failing


@dataclass(frozen=True, slots=True)
class Report:
    """One round of checks. ``draining`` is true while the process is on its way out."""

    checks: Mapping[str, bool]
    draining: bool = False

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of what failed, sorted; ``draining`` is one of them."""
        return (
            tuple(sorted(name for name, ok in self.checks.items() if not ok)) + ("draining",) * self.draining
        )


class Health:
    """Runs the registered pings, all at once and rarely.

    However many probes ask, one round of pings is under way at a time, and its result serves for ``keep_s``
    seconds. A ping has ``timeout_s`` seconds; raising is failing. ``pings`` may grow until the first check.
    One event loop.
    """

    def __init__(
        self,
        pings: Mapping[str, Ping],
        *,
        draining: Callable[[], bool],
        clock: Clock,
        timeout_s: float = 2.0,
        keep_s: float = 1.0,
    ) -> None:
        self._pings = pings
        self._draining = draining
        self._clock = clock
        self._timeout_s = timeout_s
        self._keep_s = keep_s
        self._last: Mapping[str, bool] = {}
        self._fresh_until = float("-inf")
        self._round: asyncio.Task[None] | None = None

    async def check(self) -> Report:
        """What holds now, at most ``keep_s`` seconds old; draining shows at once."""
        if self._clock.monotonic() >= self._fresh_until:
            if self._round is None:
                self._round = asyncio.create_task(self._run(), name="health-round")
                self._round.add_done_callback(self._forget_round)
            # Shielded: a probe that hangs up must not take the round away from the others.
            await asyncio.shield(self._round)
        return Report(self._last, self._draining())

    async def require_ready(self) -> Report:
        """The report if all is well. Raises NotReady."""
        report = await self.check()
        if report.failing:
            raise NotReady(report.failing)
        return report

    async def _run(self) -> None:
        names = list(self._pings)
        results = await asyncio.gather(*(self._answers(name) for name in names))
        self._last = dict(zip(names, results, strict=True))
        self._fresh_until = self._clock.monotonic() + self._keep_s

    async def _answers(self, name: str) -> bool:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._pings[name]()
        except Exception as error:  # noqa: BLE001 - whatever a ping raises means that it failed
            if self._last.get(name, True):
                _log.warning("health.check_failed", check=name, error=type(error).__name__)
            return False
        if not self._last.get(name, True):
            _log.info("health.check_recovered", check=name)
        return True

    def _forget_round(self, _done: asyncio.Task[None]) -> None:
        self._round = None


class SchemaBehind(DatabaseUnavailable):
    """The database lacks migrations that this release needs."""


def database_pings(database: Database) -> dict[str, Ping]:
    """The checks of a database: that it answers, and that its schema is at least this release's."""

    async def schema() -> None:
        if not await is_at_head(database):
            raise SchemaBehind("The database's schema is behind")

    return {"database": database.ping, "schema": schema}


async def database_health(
    database: Database, health: Health, *, details: bool, latency: QueryLatencyTracker | None = None
) -> DatabaseHealth:
    """The database's state; ``latency`` is who watches the statements.

    Without ``details`` it costs the database nothing beyond the shared round. Raises NotReady.
    """
    report = await health.check()
    if not report.checks.get("database", True):
        raise NotReady(("database",))
    if not details:
        return DatabaseHealth()
    probe = await database.probe()
    metrics = latency.get_metrics() if latency is not None else None
    pool = database.pool_status()
    return DatabaseHealth(
        latency_ms=round(probe.latency_s * 1000, 3),
        server_version=probe.server_version,
        pool=Pool(**asdict(pool)),
        statements=_statements(metrics) if metrics is not None else None,
        alerts=_alerts(pool, metrics),
        replica=ReplicaState(**asdict(database.replica.status)) if database.replica is not None else None,
    )


def _statements(metrics: LatencyMetrics) -> StatementLatency:
    recent = metrics.recent
    return StatementLatency(
        window_s=metrics.window_s,
        statements=recent.query_count,
        avg_ms=recent.avg_duration_ms,
        p50_ms=recent.p50_ms,
        p95_ms=recent.p95_ms,
        p99_ms=recent.p99_ms,
        max_ms=recent.max_duration_ms,
        slow_since_start=metrics.slow_query_count,
    )


def _alerts(pool: PoolStatus, metrics: LatencyMetrics | None) -> list[Alert]:
    alerts: list[Alert] = ["pool"] if pool.utilization_percent >= POOL_ALERT_PERCENT else []
    if metrics is not None and metrics.recent.avg_duration_ms > MEAN_ALERT_MS:
        alerts.append("latency")
    return alerts


def provide_health(platform: Platform, _settings: object) -> Mapping[type[Any], Any]:
    """``Health`` over the platform's database and store, and over whatever other features add to ``platform.pings``."""

    async def valkey() -> None:
        await platform.store.ping()

    platform.pings.update(database_pings(platform.database), valkey=valkey)
    return {
        Health: Health(platform.pings, draining=lambda: platform.traffic.is_draining, clock=platform.clock)
    }
