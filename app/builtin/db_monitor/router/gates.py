"""The policies of the monitor's paths, and what its handlers ask for."""

from typing import Annotated, Any

from fastapi import Depends

from app.core import Bulkhead, JobConfig, ResponseCache, Security, provided
from app.core.monitor import MonitorServer

LOOK = JobConfig(
    security=Security(scopes=("read:monitor",)),
    cache=ResponseCache(ttl=3, scope="public", shared_with_all=True),
    bulkhead=Bulkhead(max=4, queue=32),
    timeout=10,
)
"""Of what only looks: however many dashboards refresh, the server is asked once in three seconds."""

REFUSALS: dict[int | str, Any] = {
    503: {"description": "The watched server does not answer, is locked, or the monitor is busy"}
}

Server = Annotated[MonitorServer, Depends(provided(MonitorServer))]
