"""The tables of the database."""

from typing import Annotated, Any

from fastapi import Path, Query

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS, Server
from app.builtin.db_monitor.schemas.tables import TableDetailOut, TablePage, TableQuery
from app.core import APIRouter, api_worker, enforce_all_policies
from app.core.monitor import table_detail, table_sizes

NOT_FOUND: dict[int | str, Any] = {
    404: {"description": "There is no such table outside the system's schemas"}
}

TableName = Annotated[
    str,
    Path(
        min_length=1,
        max_length=300,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="`schema.table`, or a name on the search path; letter by letter as the catalogs have it, or quoted as in SQL",
    ),
]

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)


@router.get("/tables", dependencies=[enforce_all_policies("monitor_tables", LOOK)])
@api_worker(LOOK)
async def read_tables(query: Annotated[TableQuery, Query()], server: Server) -> TablePage:
    """Tables by size: rows, dead ones, how they are read and written, when they were cleaned, and how fast they grow."""
    offset = (query.page - 1) * query.limit
    found = await server.put(lambda asked: table_sizes(asked, limit=query.limit, offset=offset))
    return TablePage.model_validate(found)


@router.get(
    "/table-stats/{table_name}",
    responses=NOT_FOUND,
    dependencies=[enforce_all_policies("monitor_table_stats", LOOK)],
)
@api_worker(LOOK)
async def read_table_stats(table_name: TableName, server: Server) -> TableDetailOut:
    """One table: columns as the planner sees them, indexes, empty space, what waits for VACUUM, growth."""
    return TableDetailOut.model_validate(await server.put(lambda asked: table_detail(asked, table_name)))
