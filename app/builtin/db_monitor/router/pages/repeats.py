"""Endpoints that read rows one by one."""

from fastapi import Request
from starlette.responses import Response

from app.builtin.db_monitor.router.n_plus_one import Repeats
from app.builtin.db_monitor.router.pages.look import SEE, answer
from app.core import PageRouter, api_worker, enforce_all_policies

router = PageRouter(prefix="/ui/db-monitor")


@router.get("/n-plus-one", dependencies=[enforce_all_policies("ui_monitor_n_plus_one", SEE)])
@api_worker(SEE)
async def repeats_page(request: Request, watch: Repeats) -> Response:
    """Routes that repeat a statement within one request. Asks no server."""
    return answer(request, "repeats.html", repeats=watch.get_repeats(), is_watched=watch.is_watching)
