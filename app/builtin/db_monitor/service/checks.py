"""The checks of the overview, in the order in which they are shown."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from app.builtin.db_monitor.service.both_sides import look_at_connections
from app.builtin.db_monitor.service.caches import Caches, look_at_caches
from app.builtin.db_monitor.service.maintenance import look_after
from app.builtin.db_monitor.service.overview import Check
from app.core.db import Database
from app.core.monitor import MonitorServer, locks, replication, server_settings
from app.core.valkey import ValkeyClient

Look = Callable[[], Awaitable[Any]]


def checks_of(
    server: MonitorServer, database: Database, store: ValkeyClient, caches: Caches
) -> tuple[Check, ...]:
    """Every page of the monitor as one check."""
    return (
        Check(
            "connections",
            "Connections and the pool",
            _findings(lambda: look_at_connections(server, database)),
        ),
        Check("locks", "Who waits for whom", _findings(lambda: server.put(locks))),
        Check("maintenance", "Vacuum, wraparound, sequences", _findings(lambda: look_after(server))),
        Check("cache", "Caches", _findings(lambda: look_at_caches(server, caches, store))),
        Check("replication", "Replication", _findings(lambda: server.put(replication))),
        Check("settings", "Settings of the server", _findings(lambda: server.put(server_settings))),
    )


def _findings(look: Look) -> Callable[[], Awaitable[Iterable[Any]]]:
    async def findings() -> Iterable[Any]:
        found: Iterable[Any] = (await look()).findings
        return found

    return findings
