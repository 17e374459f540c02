"""Indexes: those that lack, and those that are too many."""

from fastapi import Request
from starlette.responses import Response

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.pages.look import SEE, Shown, answer
from app.builtin.db_monitor.router.slow_queries import Statements
from app.builtin.db_monitor.service.suggested import KEPT_S, SUGGESTED, suggested_indexes
from app.core import PageRouter, api_worker, enforce_all_policies
from app.core.monitor import index_report

router = PageRouter(prefix="/ui/db-monitor")


@router.get("/indexes", dependencies=[enforce_all_policies("ui_monitor_indexes", SEE)])
@api_worker(SEE)
async def indexes_page(request: Request, server: Server, board: Shown, statements: Statements) -> Response:
    """Those that the slowest statements lack; unused, redundant and invalid ones, and foreign keys without one."""
    found = await board.look("indexes", lambda: server.put(index_report))
    wanted = await board.glance(SUGGESTED, lambda: suggested_indexes(server, statements), keep_s=KEPT_S)
    return answer(request, "indexes.html", indexes=found, wanted=wanted)
