"""Connections as the server and as this process see them."""

from app.builtin.db_monitor.schemas.connections import ConnectionGroupOut, ConnectionsOut
from app.builtin.db_monitor.schemas.findings import FindingOut
from app.core.db import Database
from app.core.monitor import POOL_ALERT_PERCENT, Finding, MonitorServer, connections, ranked


async def look_at_connections(server: MonitorServer, database: Database) -> ConnectionsOut:
    """The server's connections and the pool of this process. Raises as ``MonitorServer.put`` does."""
    found = await server.put(connections)
    pool = database.pool_status()
    crowded = _crowded(pool.utilization_percent, pool.checked_out, pool.limit, database.waiting)
    return ConnectionsOut(
        used=found.used,
        usable=found.usable,
        used_percent=found.used_percent,
        free=max(0, found.usable - found.used),
        pool_size=pool.size,
        pool_limit=pool.limit,
        pool_in_use=pool.checked_out,
        pool_idle=pool.open - pool.checked_out,
        pool_overflow=pool.overflow,
        pool_waiting=database.waiting,
        groups=ConnectionGroupOut.all_of(found.groups),
        findings=FindingOut.all_of(ranked([*found.findings, *crowded])),
    )


def _crowded(percent: float, in_use: int, limit: int, waiting: int) -> list[Finding]:
    """From where on the alert is raised too."""
    if percent < POOL_ALERT_PERCENT:
        return []
    return [
        Finding(
            check="connections.pool",
            severity="critical" if waiting else "warning",
            subject="pool",
            title=f"{percent:.0f} % of this process's connections are in use",
            evidence=f"{in_use} of {limit}, {waiting} callers wait",
            fix="Find who keeps a connection while waiting for something else; only then make the pool larger",
        )
    ]
