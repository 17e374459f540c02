"""What would make a statement faster."""

from typing import Annotated

from fastapi import Depends

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS, Server
from app.builtin.db_monitor.router.queries import ANSWERS, PLANNED, statement_of
from app.builtin.db_monitor.router.slow_queries import Statements
from app.builtin.db_monitor.schemas.advice import (
    AdviceOut,
    StatementToAdviseIn,
    WorkloadAdviceOut,
    WorkloadIndexOut,
)
from app.builtin.db_monitor.service.board import Board
from app.builtin.db_monitor.service.suggested import KEPT_S, SUGGESTED, suggested_indexes
from app.core import APIRouter, CurrentPrincipal, api_worker, enforce_all_policies, provided
from app.core.monitor import advise

router = APIRouter(prefix="/db-monitor", tags=["database"])


@router.post(
    "/optimize-query",
    responses=ANSWERS,
    dependencies=[enforce_all_policies("monitor_optimize_query", PLANNED)],
)
@api_worker(PLANNED)
async def optimize_query(asked: StatementToAdviseIn, server: Server, caller: CurrentPrincipal) -> AdviceOut:
    """Indexes that would make one statement faster, what to write otherwise, or why neither helps. The statement does not run."""
    sql = await statement_of(asked, server, caller.scopes)
    return AdviceOut.of(sql, await advise(server, sql))


@router.get(
    "/indexes/suggested",
    responses=REFUSALS,
    dependencies=[enforce_all_policies("monitor_indexes_suggested", LOOK)],
)
@api_worker(LOOK)
async def suggest_indexes(
    server: Server, board: Annotated[Board, Depends(provided(Board))], statements: Statements
) -> WorkloadAdviceOut:
    """One set of indexes for the statements that cost most. It takes seconds, so it is worked out in the background and kept for five
    minutes: ask again while ``is_ready`` is false.
    """
    found = await board.glance(SUGGESTED, lambda: suggested_indexes(server, statements), keep_s=KEPT_S)
    if found.value is None:
        return WorkloadAdviceOut(is_ready=False, reason=found.reason, asked=0, skipped=0, indexes=[])
    advice, per_day = found.value.advice, found.value.per_day
    return WorkloadAdviceOut(
        is_ready=True,
        reason=None,
        asked=advice.asked,
        skipped=len(advice.skipped),
        indexes=[WorkloadIndexOut.of(each, per_day) for each in advice.indexes],
    )
