"""The database monitor: one question to PostgreSQL a file, and what keeps questions harmless.

A question is a function that takes an ``Asked`` (a connection in a READ ONLY transaction) and thresholds with defaults, and returns a
frozen dataclass; ``findings`` of it are what somebody should look at.
"""

from app.core.monitor._admission import MAX_NESTING, MAX_PARAMETERS, admitted
from app.core.monitor._analyze import explain_analyze
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
from app.core.monitor._explain import PLANNING_MS, StatementRefused, explain
from app.core.monitor._panel import Finding, Panel, Severity, panel, ranked
from app.core.monitor._plan import Measured, Plan, PlanStep, plan_of
from app.core.monitor._redaction import redacted
from app.core.monitor._server import APPLICATION_NAME, Asked, MonitorServer, ServerFacts

__all__ = [
    "APPLICATION_NAME",
    "MAX_NESTING",
    "MAX_PARAMETERS",
    "PLANNING_MS",
    "Asked",
    "ConnectionGroup",
    "Connections",
    "Finding",
    "Measured",
    "MonitorBusy",
    "MonitorDenied",
    "MonitorError",
    "MonitorLocked",
    "MonitorServer",
    "MonitorTimeout",
    "MonitorUnreachable",
    "NotSupported",
    "Panel",
    "Plan",
    "PlanStep",
    "ServerFacts",
    "Severity",
    "StatementRefused",
    "admitted",
    "connections",
    "explain",
    "explain_analyze",
    "panel",
    "plan_of",
    "ranked",
    "redacted",
]
