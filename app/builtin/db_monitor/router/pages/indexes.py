"""Indexes: those that lack, and those that are too many."""

from fastapi import Request
from starlette.responses import Response

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.pages.look import SEE, Shown, answer
from app.core import PageRouter, api_worker, enforce_all_policies
from app.core.monitor import index_report

router = PageRouter(prefix="/ui/db-monitor")


@router.get("/indexes", dependencies=[enforce_all_policies("ui_monitor_indexes", SEE)])
@api_worker(SEE)
async def indexes_page(request: Request, server: Server, board: Shown) -> Response:
    """Unused, redundant and invalid ones, and foreign keys without one."""
    found = await board.look("indexes", lambda: server.put(index_report))
    return answer(request, "indexes.html", indexes=found)
