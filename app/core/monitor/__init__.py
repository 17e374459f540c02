"""The database monitor: one question to PostgreSQL a file, and what keeps questions harmless.

A question is a function that takes an ``Asked`` (a connection in a READ ONLY transaction) and thresholds with defaults, and returns a
frozen dataclass; ``findings`` of it are what somebody should look at.
"""

from app.core.monitor._bloat import Bloat
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
from app.core.monitor._growth import SAMPLES_TABLE, Growth, SizePoint
from app.core.monitor._health_check import MEAN_ALERT_MS, DatabaseHealthCheck, HealthReport
from app.core.monitor._index_duplicates import RedundantIndex, redundant_findings, redundant_indexes
from app.core.monitor._index_foreign_keys import UnindexedKey, key_findings, unindexed_keys
from app.core.monitor._index_invalid import InvalidIndex, invalid_findings, invalid_indexes
from app.core.monitor._index_report import IndexReport, index_report
from app.core.monitor._index_usage import (
    IndexEfficiency,
    UnusedIndex,
    index_efficiency,
    unused_findings,
    unused_indexes,
)
from app.core.monitor._index_usage_analyzer import IndexUsageAnalyzer
from app.core.monitor._latency import QueryLatencyTracker
from app.core.monitor._latency_metrics import LatencyMetrics, LatencySummary, QueryLatency
from app.core.monitor._panel import Finding, Panel, Severity, panel, ranked
from app.core.monitor._pool_monitor import POOL_ALERT_PERCENT, ConnectionPoolMonitor, PoolMetrics
from app.core.monitor._redaction import redacted
from app.core.monitor._repeats import RepeatedReads
from app.core.monitor._repeats_found import RepeatedRead
from app.core.monitor._server import APPLICATION_NAME, Asked, MonitorServer, ServerFacts
from app.core.monitor._server_counters import ServerCounters, server_counters
from app.core.monitor._table_detail import ColumnStatistics, TableDetail, table_detail
from app.core.monitor._table_indexes import TableIndex
from app.core.monitor._table_size_monitor import GrowthTrend, TableSizeMonitor
from app.core.monitor._table_sizes import TableSize, TableSizes, sizes_to_store, table_sizes
from app.core.monitor._table_vacuum import VacuumState

__all__ = [
    "APPLICATION_NAME",
    "MEAN_ALERT_MS",
    "POOL_ALERT_PERCENT",
    "SAMPLES_TABLE",
    "Asked",
    "Bloat",
    "ColumnStatistics",
    "ConnectionGroup",
    "ConnectionPoolMonitor",
    "Connections",
    "DatabaseHealthCheck",
    "DeadlockAudit",
    "DeadlockReport",
    "Finding",
    "Growth",
    "GrowthTrend",
    "HealthReport",
    "IndexEfficiency",
    "IndexReport",
    "IndexUsageAnalyzer",
    "InvalidIndex",
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
    "RedundantIndex",
    "RepeatedRead",
    "RepeatedReads",
    "ServerCounters",
    "ServerFacts",
    "Severity",
    "SizePoint",
    "TableDetail",
    "TableIndex",
    "TableSize",
    "TableSizeMonitor",
    "TableSizes",
    "UnindexedKey",
    "UnusedIndex",
    "VacuumState",
    "connections",
    "index_efficiency",
    "index_report",
    "invalid_findings",
    "invalid_indexes",
    "key_findings",
    "panel",
    "ranked",
    "redacted",
    "redundant_findings",
    "redundant_indexes",
    "server_counters",
    "sizes_to_store",
    "table_detail",
    "table_sizes",
    "unindexed_keys",
    "unused_findings",
    "unused_indexes",
]
