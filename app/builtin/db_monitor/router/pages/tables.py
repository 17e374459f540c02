"""Tables by size, how they grow, and one of them."""

from typing import Annotated

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.pages.look import SEE, WITH_CHARTS, Shown, answer, look_for
from app.builtin.db_monitor.router.tables import TableName
from app.builtin.db_monitor.service.growth_lines import largest_over_time
from app.core import PageRouter, api_worker, enforce_all_policies
from app.core.monitor import table_detail, table_sizes

router = PageRouter(prefix="/ui/db-monitor")
_LIMIT = 50


class TablesPage(BaseModel):
    """Which page of the list."""

    model_config = ConfigDict(extra="forbid")

    page: Annotated[int, Field(ge=1, le=10_000)] = 1


@router.get("/tables", dependencies=[enforce_all_policies("ui_monitor_tables", SEE)])
@api_worker(SEE)
async def tables_page(
    query: Annotated[TablesPage, Query()], request: Request, server: Server, board: Shown
) -> Response:
    """Fifty tables, largest first, and how the three largest grew."""
    offset = (query.page - 1) * _LIMIT
    found = await board.look(
        ("tables", query.page),
        lambda: server.put(lambda asked: table_sizes(asked, limit=_LIMIT, offset=offset)),
    )
    lines = await board.look("growth", lambda: server.put(largest_over_time))
    total = found.value.total if found.value is not None else 0
    pages = max(1, -(-total // _LIMIT))
    return answer(
        request, "tables.html", scripts=WITH_CHARTS, tables=found, lines=lines, page=query.page, pages=pages
    )


@router.get("/tables/{table_name}", dependencies=[enforce_all_policies("ui_monitor_table", SEE)])
@api_worker(SEE)
async def table_page(table_name: TableName, request: Request, server: Server, board: Shown) -> Response:
    """One table: columns as the planner sees them, indexes, empty space, what waits for VACUUM, growth."""
    found = await look_for(
        board, ("table", table_name), lambda: server.put(lambda asked: table_detail(asked, table_name))
    )
    status = 200 if found.value is not None else 503
    history = [(it.at, (float(it.bytes),)) for it in found.value.history] if found.value is not None else []
    return answer(
        request, "table.html", tab="/tables", scripts=WITH_CHARTS, status=status, name=table_name, table=found, history=history
    )  # fmt: skip
