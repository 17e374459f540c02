"""The database monitor: one question to PostgreSQL a file, and what keeps questions harmless.

A question is a function that takes an ``Asked`` (a connection in a READ ONLY transaction) and thresholds with defaults, and returns a
frozen dataclass; ``findings`` of it are what somebody should look at.
"""

from app.core.monitor._connections import ConnectionGroup, Connections, connections
from app.core.monitor._deadlocks import DeadlockAudit, DeadlockReport
from app.core.monitor._errors import (
    MonitorBusy,
    MonitorDenied,
    MonitorError,
    MonitorLocked,
    MonitorTimeout,
    MonitorUnreachable,
    NotSupported,
)
from app.core.monitor._health_check import MEAN_ALERT_MS, DatabaseHealthCheck, HealthReport
from app.core.monitor._latency import QueryLatencyTracker
from app.core.monitor._latency_metrics import LatencyMetrics, LatencySummary, QueryLatency
from app.core.monitor._panel import Finding, Panel, Severity, panel, ranked
from app.core.monitor._pool_monitor import POOL_ALERT_PERCENT, ConnectionPoolMonitor, PoolMetrics
from app.core.monitor._redaction import redacted
from app.core.monitor._repeats import RepeatedReads
from app.core.monitor._repeats_found import RepeatedRead
from app.core.monitor._server import APPLICATION_NAME, Asked, MonitorServer, ServerFacts
from app.core.monitor._server_counters import ServerCounters, server_counters

__all__ = [
    "APPLICATION_NAME",
    "MEAN_ALERT_MS",
    "POOL_ALERT_PERCENT",
    "Asked",
    "ConnectionGroup",
    "ConnectionPoolMonitor",
    "Connections",
    "DatabaseHealthCheck",
    "DeadlockAudit",
    "DeadlockReport",
    "Finding",
    "HealthReport",
    "LatencyMetrics",
    "LatencySummary",
    "MonitorBusy",
    "MonitorDenied",
    "MonitorError",
    "MonitorLocked",
    "MonitorServer",
    "MonitorTimeout",
    "MonitorUnreachable",
    "NotSupported",
    "Panel",
    "PoolMetrics",
    "QueryLatency",
    "QueryLatencyTracker",
    "RepeatedRead",
    "RepeatedReads",
    "ServerCounters",
    "ServerFacts",
    "Severity",
    "connections",
    "panel",
    "ranked",
    "redacted",
    "server_counters",
]
