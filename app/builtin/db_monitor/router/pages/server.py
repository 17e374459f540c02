"""The server itself: its settings, what vacuum owes it, and its standbys."""

import asyncio

from fastapi import Request
from starlette.responses import Response

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.pages.look import SEE, Shown, answer
from app.core import PageRouter, api_worker, enforce_all_policies
from app.core.monitor import autovacuum, replication, sequences, server_settings, wraparound

router = PageRouter(prefix="/ui/db-monitor")


@router.get("/server", dependencies=[enforce_all_policies("ui_monitor_server", SEE)])
@api_worker(SEE)
async def server_page(request: Request, server: Server, board: Shown) -> Response:
    """Settings, maintenance and replication; each part fails alone."""
    facts, settings, ages, vacuum, numbers, copies = await asyncio.gather(
        board.look("facts", server.facts),
        board.look("settings", lambda: server.put(server_settings)),
        board.look("wraparound", lambda: server.put(wraparound)),
        board.look("autovacuum", lambda: server.put(autovacuum)),
        board.look("sequences", lambda: server.put(sequences)),
        board.look("replication", lambda: server.put(replication)),
    )
    return answer(
        request, "server.html", facts=facts, settings=settings, ages=ages, vacuum=vacuum, numbers=numbers, copies=copies
    )  # fmt: skip
