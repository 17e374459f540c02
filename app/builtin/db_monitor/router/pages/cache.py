"""What is kept in memory."""

from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.pages.look import SEE, Shown, answer
from app.builtin.db_monitor.service.caches import Caches, look_at_caches
from app.core import PageRouter, api_worker, enforce_all_policies, provided
from app.core.http import platform_of

router = PageRouter(prefix="/ui/db-monitor")


@router.get("/cache", dependencies=[enforce_all_policies("ui_monitor_cache", SEE)])
@api_worker(SEE)
async def cache_page(
    request: Request, server: Server, board: Shown, caches: Annotated[Caches, Depends(provided(Caches))]
) -> Response:
    """Our caches, PostgreSQL's buffers, and Valkey."""
    store = platform_of(request).store
    found = await board.look("caches", lambda: look_at_caches(server, caches, store))
    return answer(request, "cache.html", caches=found)
