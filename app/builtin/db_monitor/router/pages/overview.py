"""The first page: one line for each check."""

from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from app.builtin.db_monitor.router.pages.look import SEE, Shown, answer
from app.builtin.db_monitor.service.overview import Overview
from app.core import PageRouter, api_worker, enforce_all_policies, in_menu, provided

router = PageRouter(prefix="/ui/db-monitor")


@router.get("", dependencies=[enforce_all_policies("ui_monitor", SEE)])
@api_worker(SEE)
@in_menu("Database", "what the database does, what it should do better, and how")
async def overview_page(
    request: Request, board: Shown, overview: Annotated[Overview, Depends(provided(Overview))]
) -> Response:
    """Every check with its state, since when statistics count, and what would help most."""
    return answer(request, "overview.html", tab="", seen=await overview.look(board))
