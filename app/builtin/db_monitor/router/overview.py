"""The overview."""

from typing import Annotated

from fastapi import Depends

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS
from app.builtin.db_monitor.schemas.overview import PerformanceOut
from app.builtin.db_monitor.service.board import Board
from app.builtin.db_monitor.service.overview import Overview
from app.builtin.db_monitor.service.overview_answer import overview_answer
from app.core import APIRouter, api_worker, enforce_all_policies, provided

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)


@router.get("/performance", dependencies=[enforce_all_policies("monitor_performance", LOOK)])
@api_worker(LOOK)
async def read_performance(
    board: Annotated[Board, Depends(provided(Board))],
    overview: Annotated[Overview, Depends(provided(Overview))],
) -> PerformanceOut:
    """Every check of the database, the costliest statements, and all findings, the worst first, each with its evidence and the fix."""
    return overview_answer(await overview.look(board))
