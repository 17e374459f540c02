"""What the server counts by itself and nobody sees until it hurts: deadlocks, and the age of the oldest transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from app.core.monitor._server import Asked

# Locks nothing: statistics come from shared memory, and pg_database is read without touching a table of anybody's.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-DATABASE-VIEW
_COUNTERS: Final[LiteralString] = """
SELECT s.datname::text AS database, s.deadlocks::bigint AS deadlocks, s.stats_reset,
       (SELECT max(pg_catalog.age(d.datfrozenxid)) FROM pg_catalog.pg_database d)::int AS transaction_age
FROM pg_catalog.pg_stat_database s WHERE s.datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """``deadlocks`` in this database since ``stats_reset`` (None: since it was made); each ended one transaction with SQLSTATE 40P01.

    ``transaction_age``: of the oldest transaction that any database has not frozen; autovacuum is forced from 200 million on, and at
    2^31 the server takes no more writes.
    """

    database: str
    deadlocks: int
    stats_reset: datetime | None
    transaction_age: int


async def server_counters(asked: Asked) -> ServerCounters:
    """The counters now."""
    return ServerCounters(**await asked.fetchrow(_COUNTERS))
