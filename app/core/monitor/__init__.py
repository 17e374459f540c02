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
from app.core.monitor._plan_findings import plan_findings, step_name
from app.core.monitor._planned_tables import PlannedTable, planned_tables
from app.core.monitor._redaction import redacted
from app.core.monitor._run_findings import run_findings
from app.core.monitor._server import APPLICATION_NAME, Asked, MonitorServer, ServerFacts
from app.core.monitor._shown_plan import ShownStep, shown_steps
from app.core.monitor._statement_report import StatementReport, report_on, text_of
from app.core.monitor._statement_text import statement_text
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
    "MAX_NESTING",
    "MAX_PARAMETERS",
    "PLANNING_MS",
    "Advice",
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
    "PlannedTable",
    "Ran",
    "Rewrite",
    "ServerFacts",
    "Severity",
    "ShownStep",
    "StatementRefused",
    "StatementReport",
    "Suggestion",
    "WorkloadAdvice",
    "WorkloadIndex",
    "admitted",
    "advise",
    "advise_workload",
    "advisor_with",
    "connections",
    "explain",
    "explain_analyze",
    "findings_of",
    "panel",
    "plan_findings",
    "plan_of",
    "planned_tables",
    "ranked",
    "redacted",
    "report_on",
    "run_findings",
    "shown_steps",
    "statement_text",
    "step_name",
    "text_of",
]
