"""What goes on at the server at this moment."""

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS, Server
from app.builtin.db_monitor.schemas.connections import ConnectionsOut
from app.builtin.db_monitor.schemas.locks import LocksOut
from app.builtin.db_monitor.schemas.replication import ReplicationOut
from app.builtin.db_monitor.service.both_sides import look_at_connections
from app.core import APIRouter, api_worker, enforce_all_policies
from app.core.http import CurrentPlatform
from app.core.monitor import locks, replication

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)


@router.get("/connections", dependencies=[enforce_all_policies("monitor_connections", LOOK)])
@api_worker(LOOK)
async def read_connections(server: Server, platform: CurrentPlatform) -> ConnectionsOut:
    """The server's connections by application, role, database and state, and the pool of the process that answers."""
    return await look_at_connections(server, platform.database)


@router.get("/locks", dependencies=[enforce_all_policies("monitor_locks", LOOK)])
@api_worker(LOOK)
async def read_locks(server: Server) -> LocksOut:
    """Who waits for whom, and the oldest open transactions; statements are redacted."""
    return LocksOut.model_validate(await server.put(locks))


@router.get("/replication", dependencies=[enforce_all_policies("monitor_replication", LOOK)])
@api_worker(LOOK)
async def read_replication(server: Server) -> ReplicationOut:
    """Standbys and their lag, slots and what they keep, the archive; on a standby its own lag."""
    return ReplicationOut.model_validate(await server.put(replication))
