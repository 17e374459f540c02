"""Who is connected, what they are doing, and how near the server is to its limit."""

from dataclasses import dataclass

from app.core.monitor._panel import Finding
from app.core.monitor._server import APPLICATION_NAME, Asked

# Locks nothing: the statistics views are read from shared memory.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
_GROUPS = """
SELECT coalesce(a.application_name, '') AS application, coalesce(a.usename::text, '') AS role,
       coalesce(a.datname::text, '') AS database, coalesce(a.state, 'unknown') AS state, count(*)::int AS connections,
       max(extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change))::float8 AS longest_in_state_s,
       max(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start))::float8 AS oldest_transaction_s
FROM pg_catalog.pg_stat_activity a
WHERE a.backend_type = 'client backend' AND a.application_name <> $1
GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4
"""
_LIMITS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS usable,
       (SELECT count(*)::int FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend') AS used
"""


@dataclass(frozen=True, slots=True)
class ConnectionGroup:
    """Connections of one application, role, database and state; durations in seconds, None where there is nothing to measure."""

    application: str
    role: str
    database: str
    state: str
    connections: int
    longest_in_state_s: float | None
    oldest_transaction_s: float | None


@dataclass(frozen=True, slots=True)
class Connections:
    """All client connections of the server but the monitor's own. ``usable`` are those that ordinary roles may have."""

    used: int
    usable: int
    groups: tuple[ConnectionGroup, ...]
    findings: tuple[Finding, ...]

    @property
    def used_percent(self) -> float:
        """Of ``usable``."""
        return round(100.0 * self.used / max(1, self.usable), 1)


async def connections(
    asked: Asked, *, warn_percent: float = 80.0, idle_in_transaction_s: float = 60.0
) -> Connections:
    """The server's connections by application, role, database and state.

    Warns from ``warn_percent`` of the usable connections on (critical from 95 %), and of a transaction that has been idle for
    ``idle_in_transaction_s`` seconds: it keeps its locks, and VACUUM from removing dead rows.
    """
    limits = await asked.fetchrow(_LIMITS)
    groups = tuple(ConnectionGroup(**row) for row in await asked.fetch(_GROUPS, APPLICATION_NAME))
    found = Connections(limits["used"], limits["usable"], groups, ())
    findings = (*_nearly_full(found, warn_percent), *_idle(groups, idle_in_transaction_s))
    return Connections(found.used, found.usable, groups, findings)


def _nearly_full(found: Connections, warn_percent: float) -> list[Finding]:
    if found.used_percent < warn_percent:
        return []
    return [
        Finding(
            check="connections.limit",
            severity="critical" if found.used_percent >= 95 else "warning",
            subject="max_connections",
            title=f"{found.used_percent} % of the server's connections are in use",
            evidence=f"{found.used} of {found.usable} that ordinary roles may have",
            fix="Find who holds them below; make pools smaller, put PgBouncer in front, or raise max_connections",
        )
    ]


def _idle(groups: tuple[ConnectionGroup, ...], limit_s: float) -> list[Finding]:
    return [
        Finding(
            check="connections.idle_in_transaction",
            severity="warning",
            subject=group.application or group.role,
            title=f"A transaction of {group.application or group.role} is idle and stays open",
            evidence=f"{group.connections} idle in transaction, one of them for {group.longest_in_state_s:.0f} s",
            fix="End the transaction before waiting for anything else; set idle_in_transaction_session_timeout",
        )
        for group in groups
        if group.state.startswith("idle in transaction") and (group.longest_in_state_s or 0) >= limit_s
    ]
