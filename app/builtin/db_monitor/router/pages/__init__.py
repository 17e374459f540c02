"""``/ui/db-monitor``: the monitor for people, one module a page."""

from app.builtin.db_monitor.router.pages.cache import router as cache
from app.builtin.db_monitor.router.pages.connections import router as connections
from app.builtin.db_monitor.router.pages.explain import router as explain
from app.builtin.db_monitor.router.pages.indexes import router as indexes
from app.builtin.db_monitor.router.pages.overview import router as overview
from app.builtin.db_monitor.router.pages.queries import router as queries
from app.builtin.db_monitor.router.pages.repeats import router as repeats
from app.builtin.db_monitor.router.pages.server import router as server
from app.builtin.db_monitor.router.pages.tables import router as tables
from app.core import APIRouter

router = APIRouter()
for part in (cache, connections, explain, indexes, overview, queries, repeats, server, tables):
    router.include_router(part)

__all__ = ["router"]
