"""One statement at a time: its plan, and what would make it cheaper."""

from typing import Any

from app.builtin.db_monitor.router.gates import REFUSALS, Server
from app.builtin.db_monitor.schemas.queries import StatementIn, StatementReportOut
from app.core import (
    APIRouter,
    Bulkhead,
    CurrentPrincipal,
    JobConfig,
    RateLimit,
    Security,
    api_worker,
    enforce_all_policies,
)
from app.core.monitor import MonitorServer, advisor_with, report_on, text_of
from app.core.policies import InsufficientScope

PLANNED = JobConfig(
    security=Security(scopes=("read:monitor",)),
    rate_limit=RateLimit(name="user", algorithm="token_bucket", quota=60, window=60, burst=20),
    bulkhead=Bulkhead(max=2, queue=8),
    max_body=131_072,
    timeout=15,
)
"""Of what has the server plan somebody's text: as many at once as the monitor has connections."""

ANSWERS: dict[int | str, Any] = {
    **REFUSALS,
    403: {
        "description": "A text or `analyze` without the scope write:monitor, or the monitor's role lacks a grant"
    },
    404: {"description": "pg_stat_statements does not know the queryid, or is not installed"},
    422: {"description": "The statement is refused, or cannot be planned; `detail` says why"},
}

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=ANSWERS)


@router.post("/analyze-query", dependencies=[enforce_all_policies("monitor_analyze_query", PLANNED)])
@api_worker(PLANNED)
async def analyze_query(asked: StatementIn, server: Server, caller: CurrentPrincipal) -> StatementReportOut:
    """The plan of one statement, and findings in plain words. It runs only if ``analyze`` says so, and if it does nothing but read."""
    sql = await statement_of(asked, server, caller.scopes)
    advisor = advisor_with(await server.facts())
    return StatementReportOut.of(await report_on(server, sql, analyze=asked.analyze, advisor=advisor))


async def statement_of(asked: StatementIn, server: MonitorServer, scopes: frozenset[str]) -> str:
    """The text that is asked about. Raises InsufficientScope where it needs ``write:monitor``, and as ``text_of`` does."""
    if asked.needs_write and "write:monitor" not in scopes:
        raise InsufficientScope(("write:monitor",), ("write:monitor",))
    return asked.sql if asked.sql is not None else await text_of(server, int(asked.queryid or 0))
