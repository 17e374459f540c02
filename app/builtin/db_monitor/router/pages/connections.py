"""Who is connected, and who waits for whom."""

import asyncio

from fastapi import Request
from starlette.responses import Response

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.pages.look import SEE, Shown, answer
from app.builtin.db_monitor.service.both_sides import look_at_connections
from app.core import PageRouter, api_worker, enforce_all_policies
from app.core.http import platform_of
from app.core.monitor import locks

router = PageRouter(prefix="/ui/db-monitor")


@router.get("/connections", dependencies=[enforce_all_policies("ui_monitor_connections", SEE)])
@api_worker(SEE)
async def connections_page(request: Request, server: Server, board: Shown) -> Response:
    """The server's connections and this process's pool, queues for locks, and what is open for long."""
    database = platform_of(request).database
    found, queues = await asyncio.gather(
        board.look("connections", lambda: look_at_connections(server, database)),
        board.look("locks", lambda: server.put(locks)),
    )
    return answer(request, "connections.html", connections=found, locks=queues)
