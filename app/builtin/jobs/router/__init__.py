"""The paths of jobs, one module a subject."""

from app.builtin.jobs.router.events import router as events
from app.builtin.jobs.router.jobs import router as jobs
from app.builtin.jobs.router.pages import router as pages
from app.builtin.jobs.router.webhooks import router as webhooks
from app.core import APIRouter

router = APIRouter()
for part in (jobs, events, webhooks, pages):
    router.include_router(part)
