"""``/ui/db-monitor``: the monitor for people, one module a page."""

from app.builtin.db_monitor.router.pages.connections import router as connections
from app.builtin.db_monitor.router.pages.server import router as server
from app.core import APIRouter

router = APIRouter()
for part in (connections, server):
    router.include_router(part)

__all__ = ["router"]
