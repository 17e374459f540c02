"""Settings of the server."""

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS, Server
from app.builtin.db_monitor.schemas.server_settings import ServerSettingsOut
from app.core import APIRouter, api_worker, enforce_all_policies
from app.core.monitor import server_settings

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)


@router.get("/settings", dependencies=[enforce_all_policies("monitor_settings", LOOK)])
@api_worker(LOOK)
async def read_settings(server: Server) -> ServerSettingsOut:
    """What a tuner would change, with the reason; only settings that hurt or that change the monitor's advice."""
    return ServerSettingsOut.model_validate(await server.put(server_settings))
