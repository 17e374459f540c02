"""The probes.

``/live``, ``/ready`` and ``/health`` are on the open list; ``/health/db`` is gated and tells more to those
who may know.
"""

from typing import Annotated

from fastapi import Depends

from app.builtin.health.schemas import Alive, DatabaseHealth, Ready
from app.builtin.health.service import Health, Report, database_health
from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies, provided
from app.core.context import current_context
from app.core.http import CurrentPlatform
from app.core.monitor import QueryLatencyTracker

OPEN_ROUTES = {"/live": "probe", "/ready": "probe", "/health": "probe"}
DATABASE = JobConfig.public(timeout=10.0)

router = APIRouter(tags=["health"])
Probes = Annotated[Health, Depends(provided(Health))]


@router.get("/live")
async def live() -> Alive:
    """Whether the process runs. Asks nothing of anybody; restart it when this fails."""
    return Alive()


@router.get("/ready")
async def ready(health: Probes) -> Ready:
    """Whether to send requests here: 503 names what is failing, also while the process drains."""
    return _ready(await health.require_ready())


@router.get("/health")
async def summary(health: Probes) -> Ready:
    """The same answer as /ready, for people and dashboards."""
    return _ready(await health.require_ready())


@router.get(
    "/health/db", response_model_exclude_none=True, dependencies=[enforce_all_policies("health_db", DATABASE)]
)
@api_worker(DATABASE)
async def database_state(health: Probes, platform: CurrentPlatform) -> DatabaseHealth:
    """The database's state; with the scope read:monitor also its version, latency, this process's pool and statements, and alerts."""
    caller = current_context().principal
    details = caller is not None and "read:monitor" in caller.scopes
    latency: QueryLatencyTracker | None = platform.services.get(QueryLatencyTracker)
    return await database_health(platform.database, health, details=details, latency=latency)


def _ready(report: Report) -> Ready:
    return Ready(checks=dict.fromkeys(sorted(report.checks), "ok"))
