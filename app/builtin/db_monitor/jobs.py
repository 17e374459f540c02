"""What is done for the monitor again and again."""

from app.builtin.db_monitor.service import TableSampling
from app.core.http import Platform
from app.core.jobs import Periodic
from app.core.monitor import ConnectionPoolMonitor, DeadlockAudit

SAMPLE_S = 300.0


def periodic(platform: Platform) -> tuple[Periodic, ...]:
    """Every process looks at its pool every 5 s, and every 5 minutes at what the server counts, for the metrics. One process of all stores
    every 5 minutes what has changed, and asks every hour whether the daily audit of deadlocks is due.
    """
    pool, deadlocks = platform.require(ConnectionPoolMonitor), platform.require(DeadlockAudit)

    async def look_at_pool() -> None:
        pool.get_current_metrics()

    return (
        Periodic(name="monitor.table_samples", every_s=SAMPLE_S, work=platform.require(TableSampling).take),
        Periodic(name="monitor.pool", every_s=5, work=look_at_pool, leader=False),
        Periodic(name="monitor.counters", every_s=300, work=deadlocks.look, leader=False),
        Periodic(name="monitor.deadlocks", every_s=3600, work=deadlocks.audit),
    )
