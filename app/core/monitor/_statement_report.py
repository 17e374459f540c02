"""A statement looked at as a whole: its plan, what is worth knowing about it, and what others would suggest."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from app.core.monitor._admission import admitted, has_parameters
from app.core.monitor._analyze import explain_analyze
from app.core.monitor._explain import PLANNING_MS, explain
from app.core.monitor._panel import Finding
from app.core.monitor._plan import Plan, plan_of
from app.core.monitor._plan_findings import plan_findings
from app.core.monitor._planned_tables import planned_tables
from app.core.monitor._redaction import redacted
from app.core.monitor._run_findings import run_findings
from app.core.monitor._server import MonitorServer
from app.core.monitor._statements import statement_text

ANALYZE_MS: Final = 5_000
_BUDGET_S = 4.0

Advisor = Callable[[Any, str, Plan], Awaitable[tuple[Finding, ...]]]
"""Gets the connection, the statement and its plan; gives suggestions, without a value of the statement."""


@dataclass(frozen=True, slots=True)
class StatementReport:
    """What ``text`` (without values) would do. ``is_generic``: planned without the values of its ``$n``. Costs are in the planner's unit.

    ``findings`` and ``suggestions`` are ordered: the first is to be acted on first.
    """

    text: str
    plan: Plan
    findings: tuple[Finding, ...]
    suggestions: tuple[Finding, ...]
    is_generic: bool = field(kw_only=True)

    @property
    def is_analyzed(self) -> bool:
        """Whether the statement ran."""
        return self.plan.is_analyzed


async def text_of(server: MonitorServer, queryid: int) -> str:
    """The text of a statement of pg_stat_statements. Raises as ``statement_text`` and ``MonitorServer.ask`` do."""
    return await server.put(lambda connection: statement_text(connection, queryid))


async def report_on(
    server: MonitorServer, sql: str, *, analyze: bool = False, advisor: Advisor | None = None
) -> StatementReport:
    """Plan ``sql``, and run it too where ``analyze`` says so, which only a statement that does nothing but read may.

    Raises QueryNotExplainable (422) for what is refused, and as ``MonitorServer.ask`` does.
    """
    sql = admitted(sql)
    budget_s = _BUDGET_S + (ANALYZE_MS / 1000 if analyze else 0)
    async with server.ask(statement_timeout_ms=PLANNING_MS, budget_s=budget_s) as connection:
        run = explain_analyze(connection, sql, limit_ms=ANALYZE_MS) if analyze else explain(connection, sql)
        plan = plan_of(await run)
        tables = await planned_tables(connection, plan)
        suggestions = await advisor(connection, sql, plan) if advisor is not None else ()
    is_generic = has_parameters(sql)
    findings = (*plan_findings(plan, tables, is_generic=is_generic), *run_findings(plan))
    return StatementReport(redacted(sql), plan, findings, suggestions, is_generic=is_generic)
