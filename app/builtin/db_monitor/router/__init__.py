"""The paths of the monitor, one module a subject."""

from app.builtin.db_monitor.router.activity import router as activity
from app.builtin.db_monitor.router.advice import router as advice
from app.builtin.db_monitor.router.queries import router as queries
from app.core import APIRouter

router = APIRouter()
for part in (activity, queries, advice):
    router.include_router(part)

__all__ = ["router"]
