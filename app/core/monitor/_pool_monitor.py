"""How full a pool of connections is, now and at its fullest."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import Pool, QueuePool

from app.core.db import Database
from app.core.monitor._engines import sync_engine
from app.core.observability import PoolMeter

POOL_ALERT_PERCENT: Final = 80.0
"""From here on somebody should be told."""


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    """A pool as it stands. ``limit``: connections that it may open, None where there is no limit; ``overflow``: open ones above ``size``.

    ``waiting``: callers that wait for one, None where the pool does not count them. ``pool_utilization_percent``: in use, of all that may
    be opened; 0 without a limit, because then nobody waits.
    """

    pool: str
    size: int
    limit: int | None
    open: int
    checked_out: int
    idle: int
    overflow: int
    waiting: int | None
    pool_utilization_percent: float


class ConnectionPoolMonitor:
    """Looks at an engine's pool: any engine of SQLAlchemy, or a ``Database``, whose pool may be a new one each time. Asks no server.

    NullPool and StaticPool have no limit and are never full. Peak and mean are of the looks that were taken, in constant memory; the
    service looks every five seconds. Raises ConfigurationError for what is no engine.
    """

    def __init__(self, engine: AsyncEngine | Engine | Database) -> None:
        self._engine = engine if isinstance(engine, Database) else sync_engine(engine)
        self._looks = 0
        self._sum_percent = 0.0
        self._peak: PoolMetrics | None = None

    def get_current_metrics(self) -> PoolMetrics:
        """The pool now. Counts as a look, and sets ``gatehouse_pool_utilization_percent`` where the pool is the service's."""
        pool = sync_engine(self._engine).pool
        seen = _metrics(pool)
        self._looks += 1
        self._sum_percent += seen.pool_utilization_percent
        if self._peak is None or _fullness(seen) > _fullness(self._peak):
            self._peak = seen
        if (meter := _meter(pool)) is not None:
            meter.utilization(seen.pool_utilization_percent)
        return seen

    def is_healthy(self, max_utilization: float = 85.0) -> bool:
        """Whether less than ``max_utilization`` percent of the connections are in use now."""
        return self.get_current_metrics().pool_utilization_percent < max_utilization

    def get_metrics_summary(self) -> dict[str, Any]:
        """``current`` and ``peak`` as dicts of ``PoolMetrics``, ``average_utilization_percent`` over ``samples`` looks, ``alert`` (from
        80 % on) and ``healthy`` (below 85 %).
        """
        current = self.get_current_metrics()
        assert self._peak is not None  # noqa: S101 - just looked
        return {
            "current": asdict(current),
            "peak": asdict(self._peak),
            "average_utilization_percent": round(self._sum_percent / self._looks, 1),
            "samples": self._looks,
            "alert": current.pool_utilization_percent >= POOL_ALERT_PERCENT,
            "healthy": current.pool_utilization_percent < 85.0,
        }


def _fullness(seen: PoolMetrics) -> tuple[float, int, int]:
    return seen.pool_utilization_percent, seen.waiting or 0, seen.checked_out


def _meter(pool: Pool) -> PoolMeter | None:
    meter = getattr(pool, "meter", None)
    return meter if isinstance(meter, PoolMeter) else None


def _metrics(pool: Pool) -> PoolMetrics:
    meter, name = _meter(pool), type(pool).__name__
    waiting = meter.waiting if meter is not None else None
    if not isinstance(pool, QueuePool):  # the pool of asyncio engines is one as well
        return PoolMetrics(name, 0, None, 0, 0, 0, 0, waiting, 0.0)
    most = pool._max_overflow  # noqa: SLF001 - nothing public tells it
    limit = pool.size() + most if most >= 0 and pool.size() > 0 else None
    out, idle = max(0, pool.checkedout()), pool.checkedin()
    percent = round(100.0 * out / limit, 1) if limit else 0.0
    return PoolMetrics(
        name, pool.size(), limit, out + idle, out, idle, max(0, pool.overflow()), waiting, percent
    )
