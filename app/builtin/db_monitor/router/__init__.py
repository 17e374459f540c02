"""The paths of the monitor, one module a subject."""

from app.builtin.db_monitor.router.activity import router as activity
from app.builtin.db_monitor.router.indexes import router as indexes
from app.builtin.db_monitor.router.n_plus_one import router as n_plus_one
from app.builtin.db_monitor.router.tables import router as tables
from app.core import APIRouter

router = APIRouter()
for part in (activity, indexes, n_plus_one, tables):
    router.include_router(part)

__all__ = ["router"]
