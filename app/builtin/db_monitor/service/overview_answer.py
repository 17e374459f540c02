"""The overview for programs."""

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.overview import CheckOut, CostlyOut, PerformanceOut, ServerOut
from app.builtin.db_monitor.service.overview import Seen
from app.core.monitor import MonitorError


def overview_answer(seen: Seen) -> PerformanceOut:
    """What was seen. Raises MonitorError (503) when the server does not even say what it is: no check is an answer then."""
    if seen.facts.value is None:
        raise MonitorError(seen.facts.reason)
    return PerformanceOut(
        server=ServerOut.model_validate(seen.facts.value),
        checks=[
            CheckOut(
                title=it.title,
                page=f"/ui/db-monitor{it.path}",
                state=it.state,
                words=it.words,
                took_ms=it.took_ms,
            )
            for it in seen.checks
        ],
        costly=[
            CostlyOut(
                queryid=str(it.statement.queryid),
                statement=it.statement.text,
                ms_per_day=round(it.ms_per_day, 1),
            )
            for it in seen.costly
        ],
        findings=FindingOut.all_of(seen.findings),
    )
