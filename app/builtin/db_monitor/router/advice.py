"""What would make a statement faster."""

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.queries import ANSWERS, PLANNED, statement_of
from app.builtin.db_monitor.schemas.advice import AdviceOut, StatementToAdviseIn
from app.core import APIRouter, CurrentPrincipal, api_worker, enforce_all_policies
from app.core.monitor import advise

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=ANSWERS)


@router.post("/optimize-query", dependencies=[enforce_all_policies("monitor_optimize_query", PLANNED)])
@api_worker(PLANNED)
async def optimize_query(asked: StatementToAdviseIn, server: Server, caller: CurrentPrincipal) -> AdviceOut:
    """Indexes that would make one statement faster, what to write otherwise, or why neither helps. The statement does not run."""
    sql = await statement_of(asked, server, caller.scopes)
    return AdviceOut.of(sql, await advise(server, sql))
