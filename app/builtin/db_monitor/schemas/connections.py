"""The server's connections."""

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import Out


class ConnectionGroupOut(Out):
    """Connections of one application, role, database and state; durations in seconds."""

    application: str
    role: str
    database: str
    state: str
    connections: int
    longest_in_state_s: float | None
    oldest_transaction_s: float | None


class ConnectionsOut(Out):
    """All client connections but the monitor's own; ``usable`` are those that ordinary roles may have, ``free`` what is left of them.

    ``pool_*`` are of the process that answered: at most ``pool_limit``, ``pool_size`` of them kept, ``pool_overflow`` open above that,
    and ``pool_waiting`` callers that wait for one at this moment.
    """

    used: int
    usable: int
    used_percent: float
    free: int
    pool_size: int
    pool_limit: int
    pool_in_use: int
    pool_idle: int
    pool_overflow: int
    pool_waiting: int
    groups: list[ConnectionGroupOut]
    findings: list[FindingOut]
