"""What is kept in memory."""

from typing import Annotated

from fastapi import Depends, Request

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS, Server
from app.builtin.db_monitor.schemas.cache import CacheOut
from app.builtin.db_monitor.service.caches import Caches, look_at_caches
from app.core import APIRouter, api_worker, enforce_all_policies, provided
from app.core.http import platform_of
from app.core.valkey import ValkeyClient

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)


async def _store(request: Request) -> ValkeyClient:
    return platform_of(request).store


@router.get("/cache", dependencies=[enforce_all_policies("monitor_cache", LOOK)])
@api_worker(LOOK)
async def read_cache(
    server: Server,
    caches: Annotated[Caches, Depends(provided(Caches))],
    store: Annotated[ValkeyClient, Depends(_store)],
) -> CacheOut:
    """Our own caches in this process, PostgreSQL's buffers between two looks, and Valkey."""
    return await look_at_caches(server, caches, store)
