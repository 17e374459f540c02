"""The database monitor: one question to PostgreSQL a file, and what keeps questions harmless.

A question is a function that takes an ``Asked`` (a connection in a READ ONLY transaction) and thresholds with defaults, and returns a
frozen dataclass; ``findings`` of it are what somebody should look at.
"""

from app.core.monitor._connections import ConnectionGroup, Connections, connections
from app.core.monitor._errors import (
    MonitorBusy,
    MonitorDenied,
    MonitorError,
    MonitorLocked,
    MonitorTimeout,
    MonitorUnreachable,
    NotSupported,
)
from app.core.monitor._measured import Measured, MeasuredQuery
from app.core.monitor._panel import Finding, Panel, Severity, panel, ranked
from app.core.monitor._query_origin import QueryOrigin, query_origin
from app.core.monitor._redaction import redacted
from app.core.monitor._server import APPLICATION_NAME, Asked, MonitorServer, ServerFacts
from app.core.monitor._slow_statements import (
    STATEMENT_SORTS,
    SlowStatement,
    StatementMark,
    StatementSort,
    share_percent,
    statement_marks,
    statements_in_order,
)
from app.core.monitor._statement_deltas import StatementDeltas, statement_deltas, total_use
from app.core.monitor._statement_findings import extension_missing, statement_findings, texts_hidden
from app.core.monitor._statement_noise import is_noise
from app.core.monitor._statement_use import StatementUse
from app.core.monitor._statements import (
    STATEMENTS_EXTENSION,
    StatementKey,
    StatementRow,
    StatementSnapshot,
    StatementText,
    hidden_statements,
    statement_snapshot,
    statement_texts,
)

__all__ = [
    "APPLICATION_NAME",
    "STATEMENTS_EXTENSION",
    "STATEMENT_SORTS",
    "Asked",
    "ConnectionGroup",
    "Connections",
    "Finding",
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
    "Panel",
    "QueryOrigin",
    "ServerFacts",
    "Severity",
    "SlowStatement",
    "StatementDeltas",
    "StatementKey",
    "StatementMark",
    "StatementRow",
    "StatementSnapshot",
    "StatementSort",
    "StatementText",
    "StatementUse",
    "connections",
    "extension_missing",
    "hidden_statements",
    "is_noise",
    "panel",
    "query_origin",
    "ranked",
    "redacted",
    "share_percent",
    "statement_deltas",
    "statement_findings",
    "statement_marks",
    "statement_snapshot",
    "statement_texts",
    "statements_in_order",
    "texts_hidden",
    "total_use",
]
