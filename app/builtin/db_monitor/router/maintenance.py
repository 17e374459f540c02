"""What the server owes itself."""

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS, Server
from app.builtin.db_monitor.schemas.maintenance import MaintenanceOut
from app.builtin.db_monitor.service.maintenance import look_after
from app.core import APIRouter, api_worker, enforce_all_policies

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)


@router.get("/maintenance", dependencies=[enforce_all_policies("monitor_maintenance", LOOK)])
@api_worker(LOOK)
async def read_maintenance(server: Server) -> MaintenanceOut:
    """Wraparound, autovacuum by each table's own thresholds, vacuums that run, and sequences near their end."""
    return await look_after(server)
