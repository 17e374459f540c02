"""What is kept in memory."""

from typing import Annotated

from fastapi import Depends

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS, Server
from app.builtin.db_monitor.schemas.cache import CacheOut
from app.builtin.db_monitor.service.caches import Caches, look_at_caches
from app.core import APIRouter, api_worker, enforce_all_policies, provided
from app.core.http import CurrentPlatform

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)


@router.get("/cache", dependencies=[enforce_all_policies("monitor_cache", LOOK)])
@api_worker(LOOK)
async def read_cache(
    server: Server,
    caches: Annotated[Caches, Depends(provided(Caches))],
    platform: CurrentPlatform,
) -> CacheOut:
    """Our own caches in this process, PostgreSQL's buffers between two looks, and Valkey."""
    return await look_at_caches(server, caches, platform.store)
