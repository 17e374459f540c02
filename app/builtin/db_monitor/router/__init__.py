"""The paths of the monitor, one module a subject."""

from app.builtin.db_monitor.router.activity import router as activity
from app.builtin.db_monitor.router.advice import router as advice
from app.builtin.db_monitor.router.cache import router as cache
from app.builtin.db_monitor.router.indexes import router as indexes
from app.builtin.db_monitor.router.maintenance import router as maintenance
from app.builtin.db_monitor.router.n_plus_one import router as n_plus_one
from app.builtin.db_monitor.router.overview import router as overview
from app.builtin.db_monitor.router.pages import router as pages
from app.builtin.db_monitor.router.queries import router as queries
from app.builtin.db_monitor.router.server_settings import router as server_settings
from app.builtin.db_monitor.router.slow_queries import router as slow_queries
from app.builtin.db_monitor.router.tables import router as tables
from app.core import APIRouter

router = APIRouter()
for part in (
    overview,
    activity,
    pages,
    n_plus_one,
    queries,
    advice,
    cache,
    maintenance,
    server_settings,
    indexes,
    tables,
    slow_queries,
):
    router.include_router(part)

__all__ = ["router"]
