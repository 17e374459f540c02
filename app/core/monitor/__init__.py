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
    in_order,
    marks_of,
    share_percent,
)
from app.core.monitor._statement_deltas import StatementDeltas, added, deltas
from app.core.monitor._statement_findings import extension_missing, statement_findings, texts_hidden
from app.core.monitor._statement_noise import is_noise
from app.core.monitor._statement_use import StatementUse
from app.core.monitor._statements import (
    EXTENSION,
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
    "EXTENSION",
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
    "added",
    "connections",
    "deltas",
    "extension_missing",
    "hidden_statements",
    "in_order",
    "is_noise",
    "marks_of",
    "panel",
    "query_origin",
    "ranked",
    "redacted",
    "share_percent",
    "statement_findings",
    "statement_snapshot",
    "statement_texts",
    "texts_hidden",
]
