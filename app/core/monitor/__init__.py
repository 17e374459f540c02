"""The database monitor: one question to PostgreSQL a file, and what keeps questions harmless.

A question is a function that takes an ``Asked`` (a connection in a READ ONLY transaction) and thresholds with defaults, and returns a
frozen dataclass; ``findings`` of it are what somebody should look at.
"""

from app.core.monitor._admission import admitted
from app.core.monitor._autovacuum import Autovacuum, RunningVacuum, TableCare, autovacuum
from app.core.monitor._bloat import Bloat
from app.core.monitor._breathing import breathing
from app.core.monitor._buffer_cache import Blocks, BufferCache, BufferCacheWatch, CachedTable
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
from app.core.monitor._explain import StatementRefused, explain
from app.core.monitor._growth import SAMPLES_TABLE, Growth, SizePoint, size_series
from app.core.monitor._health_check import MEAN_ALERT_MS, DatabaseHealthCheck, HealthReport
from app.core.monitor._index_duplicates import RedundantIndex, redundant_indexes
from app.core.monitor._index_foreign_keys import UnindexedKey, unindexed_keys
from app.core.monitor._index_invalid import InvalidIndex, invalid_indexes
from app.core.monitor._index_report import IndexReport, index_report
from app.core.monitor._index_usage import (
    IndexEfficiency,
    UnusedIndex,
    index_efficiency,
    unused_indexes,
)
from app.core.monitor._index_usage_analyzer import IndexUsageAnalyzer
from app.core.monitor._latency import QueryLatencyTracker
from app.core.monitor._latency_metrics import LatencyMetrics, LatencySummary, QueryLatency
from app.core.monitor._locks import Locks, LockSession, OpenTransaction, locks
from app.core.monitor._measured import Measured, MeasuredQuery
from app.core.monitor._own_caches import OwnCache, OwnCaches
from app.core.monitor._panel import Finding, Panel, Severity, panel, ranked
from app.core.monitor._plan import Plan, PlanStep, plan_of
from app.core.monitor._pool_monitor import POOL_ALERT_PERCENT, ConnectionPoolMonitor, PoolMetrics
from app.core.monitor._query_origin import QueryOrigin, query_origin
from app.core.monitor._redaction import redacted
from app.core.monitor._repeats import RepeatedReads
from app.core.monitor._repeats_found import RepeatedRead
from app.core.monitor._replication import OwnLag, Replication, Slot, Standby, replication
from app.core.monitor._sequences import Sequence, Sequences, sequences
from app.core.monitor._server import APPLICATION_NAME, Asked, MonitorServer, ServerFacts
from app.core.monitor._server_counters import ServerCounters, server_counters
from app.core.monitor._server_settings import ServerSettings, Setting, server_settings
from app.core.monitor._shown_plan import ShownStep, shown_steps
from app.core.monitor._slow_statements import (
    SlowStatement,
    StatementMark,
    StatementSort,
    share_percent,
    statement_marks,
    statements_in_order,
)
from app.core.monitor._statement_deltas import StatementDeltas, statement_deltas
from app.core.monitor._statement_findings import extension_missing, statement_findings, texts_hidden
from app.core.monitor._statement_noise import is_noise
from app.core.monitor._statement_report import StatementReport, report_on, text_of
from app.core.monitor._statement_use import StatementUse
from app.core.monitor._statements import (
    QUERYIDS,
    STATEMENTS_EXTENSION,
    StatementKey,
    StatementRow,
    StatementSnapshot,
    StatementText,
    hidden_statements,
    statement_snapshot,
    statement_texts,
)
from app.core.monitor._store_state import StoreState, store_state
from app.core.monitor._table_detail import ColumnStatistics, TableDetail, table_detail
from app.core.monitor._table_indexes import TableIndex
from app.core.monitor._table_size_monitor import GrowthTrend, TableSizeMonitor
from app.core.monitor._table_sizes import TableSize, TableSizes, sizes_to_store, table_sizes
from app.core.monitor._table_vacuum import VacuumState
from app.core.monitor._wraparound import DatabaseAge, Holder, TableAge, Wraparound, wraparound
from app.core.monitor.advice import (
    Advice,
    Ran,
    Rewrite,
    Suggestion,
    WorkloadAdvice,
    WorkloadIndex,
    advise,
    advise_workload,
    advisor_with,
    findings_of,
)

__all__ = [
    "APPLICATION_NAME",
    "MEAN_ALERT_MS",
    "POOL_ALERT_PERCENT",
    "QUERYIDS",
    "SAMPLES_TABLE",
    "STATEMENTS_EXTENSION",
    "Advice",
    "Asked",
    "Autovacuum",
    "Bloat",
    "Blocks",
    "BufferCache",
    "BufferCacheWatch",
    "CachedTable",
    "ColumnStatistics",
    "ConnectionGroup",
    "ConnectionPoolMonitor",
    "Connections",
    "DatabaseAge",
    "DatabaseHealthCheck",
    "DeadlockAudit",
    "DeadlockReport",
    "Finding",
    "Growth",
    "GrowthTrend",
    "HealthReport",
    "Holder",
    "IndexEfficiency",
    "IndexReport",
    "IndexUsageAnalyzer",
    "InvalidIndex",
    "LatencyMetrics",
    "LatencySummary",
    "LockSession",
    "Locks",
    "Measured",
    "MeasuredQuery",
    "MonitorBusy",
    "MonitorDenied",
    "MonitorError",
    "MonitorLocked",
    "MonitorServer",
    "MonitorTimeout",
    "MonitorUnreachable",
    "NotSupported",
    "OpenTransaction",
    "OwnCache",
    "OwnCaches",
    "OwnLag",
    "Panel",
    "Plan",
    "PlanStep",
    "PoolMetrics",
    "QueryLatency",
    "QueryLatencyTracker",
    "QueryOrigin",
    "Ran",
    "RedundantIndex",
    "RepeatedRead",
    "RepeatedReads",
    "Replication",
    "Rewrite",
    "RunningVacuum",
    "Sequence",
    "Sequences",
    "ServerCounters",
    "ServerFacts",
    "ServerSettings",
    "Setting",
    "Severity",
    "ShownStep",
    "SizePoint",
    "Slot",
    "SlowStatement",
    "Standby",
    "StatementDeltas",
    "StatementKey",
    "StatementMark",
    "StatementRefused",
    "StatementReport",
    "StatementRow",
    "StatementSnapshot",
    "StatementSort",
    "StatementText",
    "StatementUse",
    "StoreState",
    "Suggestion",
    "TableAge",
    "TableCare",
    "TableDetail",
    "TableIndex",
    "TableSize",
    "TableSizeMonitor",
    "TableSizes",
    "UnindexedKey",
    "UnusedIndex",
    "VacuumState",
    "WorkloadAdvice",
    "WorkloadIndex",
    "Wraparound",
    "admitted",
    "advise",
    "advise_workload",
    "advisor_with",
    "autovacuum",
    "breathing",
    "connections",
    "explain",
    "extension_missing",
    "findings_of",
    "hidden_statements",
    "index_efficiency",
    "index_report",
    "invalid_indexes",
    "is_noise",
    "locks",
    "panel",
    "plan_of",
    "query_origin",
    "ranked",
    "redacted",
    "redundant_indexes",
    "replication",
    "report_on",
    "sequences",
    "server_counters",
    "server_settings",
    "share_percent",
    "shown_steps",
    "size_series",
    "sizes_to_store",
    "statement_deltas",
    "statement_findings",
    "statement_marks",
    "statement_snapshot",
    "statement_texts",
    "statements_in_order",
    "store_state",
    "table_detail",
    "table_sizes",
    "text_of",
    "texts_hidden",
    "unindexed_keys",
    "unused_indexes",
    "wraparound",
]
