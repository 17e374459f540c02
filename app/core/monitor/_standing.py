"""What one must know to judge a server's counters: since when they count, and whether others read too."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from app.core.monitor._server import Asked

# Locks nothing. A logical subscriber shows as a standby and reads nothing of ours.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-DATABASE-VIEW
_STANDING: LiteralString = """
SELECT current_setting('server_version_num')::int AS version, current_setting('block_size')::int AS block_size,
       pg_catalog.pg_is_in_recovery() AS is_standby, pg_catalog.now() AS at,
       (SELECT s.stats_reset FROM pg_catalog.pg_stat_database s WHERE s.datname = current_database()) AS stats_reset,
       pg_catalog.pg_postmaster_start_time() AS started_at,
       (SELECT count(*)::int FROM pg_catalog.pg_stat_replication r WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_replication_slots p WHERE p.active_pid = r.pid AND p.slot_type = 'logical')) AS standbys
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """The server at ``at``, its own time. ``version`` as 180006, ``block_size`` in bytes; ``standbys`` that stream from it."""

    version: int
    block_size: int
    is_standby: bool
    at: datetime
    stats_reset: datetime | None
    started_at: datetime
    standbys: int

    @property
    def since(self) -> datetime:
        """From when on counters count: they were reset then, or the server started; without a reset they may be older."""
        return self.stats_reset or self.started_at

    def last_scan(self, relation: str) -> str:
        """The SQL for when ``relation``, a column with its oid, was last scanned; NULL before PostgreSQL 16."""
        return (
            f"pg_catalog.pg_stat_get_lastscan({relation})" if self.version >= 160_000 else "NULL::timestamptz"
        )


async def standing(asked: Asked) -> Standing:
    """The server now."""
    return Standing(**await asked.fetchrow(_STANDING))
