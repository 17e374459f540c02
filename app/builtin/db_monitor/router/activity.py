"""What goes on at the server at this moment."""

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS, Server
from app.builtin.db_monitor.schemas.connections import ConnectionsOut
from app.core import APIRouter, api_worker, enforce_all_policies
from app.core.monitor import connections

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)


@router.get("/connections", dependencies=[enforce_all_policies("monitor_connections", LOOK)])
@api_worker(LOOK)
async def read_connections(server: Server) -> ConnectionsOut:
    """The server's connections by application, role, database and state."""
    return ConnectionsOut.model_validate(await server.put(connections))
