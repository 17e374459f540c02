"""Which endpoints read rows one by one."""

from typing import Annotated

from fastapi import Depends

from app.builtin.db_monitor.router.gates import LOOK
from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.repeats import RepeatedReadOut, RepeatsOut
from app.core import APIRouter, api_worker, enforce_all_policies, provided
from app.core.monitor import RepeatedReads, ranked

router = APIRouter(prefix="/db-monitor", tags=["database"])
Repeats = Annotated[RepeatedReads, Depends(provided(RepeatedReads))]


@router.get("/n-plus-one", dependencies=[enforce_all_policies("monitor_n_plus_one", LOOK)])
@api_worker(LOOK)
async def read_repeats(watch: Repeats) -> RepeatsOut:
    """Routes that repeat a statement within one request, with the code line and the way out. Asks no server."""
    found = watch.get_repeats()
    return RepeatsOut(
        is_watched=watch.is_watching,
        repeats=RepeatedReadOut.all_of(found),
        findings=FindingOut.all_of(ranked([each.finding for each in found])),
    )
