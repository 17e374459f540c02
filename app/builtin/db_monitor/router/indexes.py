"""The indexes of the database."""

from typing import Annotated

from fastapi import Query

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS, Server
from app.builtin.db_monitor.schemas.indexes import IndexesOut, IndexQuery
from app.core import APIRouter, api_worker, enforce_all_policies
from app.core.monitor import index_report

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)


@router.get("/indexes", dependencies=[enforce_all_policies("monitor_indexes", LOOK)])
@api_worker(LOOK)
async def read_indexes(query: Annotated[IndexQuery, Query()], server: Server) -> IndexesOut:
    """Indexes that nobody reads, that another makes superfluous, that are invalid, and foreign keys that lack one."""
    found = await server.put(lambda asked: index_report(asked, limit=query.limit))
    return IndexesOut.model_validate(found)
