"""Who is connected."""

from fastapi import Request
from starlette.responses import Response

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.pages.look import SEE, Shown, answer
from app.core import PageRouter, api_worker, enforce_all_policies, in_menu
from app.core.monitor import connections

router = PageRouter(prefix="/ui/db-monitor")


@router.get("/connections", dependencies=[enforce_all_policies("ui_monitor_connections", SEE)])
@api_worker(SEE)
@in_menu("Database", "what the database does, what it should do better, and how")
async def connections_page(request: Request, server: Server, board: Shown) -> Response:
    """The server's connections."""
    found = await board.look("connections", lambda: server.put(connections))
    return answer(request, "connections.html", connections=found)
