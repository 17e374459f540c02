"""What the monitor provides to the application."""

from collections.abc import Mapping
from typing import Any

from app.builtin.db_monitor.service.table_sampling import TableSampling
from app.core.http import Platform
from app.core.monitor import (
    ConnectionPoolMonitor,
    DeadlockAudit,
    MonitorServer,
    QueryLatencyTracker,
    RepeatedReads,
)


def provide_monitor(platform: Platform, settings: Any) -> Mapping[type[Any], Any]:
    """The server that is watched, that of the platform's database, over connections of its own; who keeps its history; and who watches
    the service's statements, unless the settings say that nobody does.
    """
    server = MonitorServer(platform.database, clock=platform.clock)
    platform.on_stop.append(server.close)
    return {
        MonitorServer: server,
        TableSampling: TableSampling(server, platform.database, months=settings.monitor.history_months),
        ConnectionPoolMonitor: ConnectionPoolMonitor(platform.database),
        DeadlockAudit: DeadlockAudit(server, platform.database),
        **_watchers(platform, is_on=settings.monitor.track_latency),
    }


def _watchers(platform: Platform, *, is_on: bool) -> Mapping[type[Any], Any]:
    """Those of the service's own statements; without ``is_on`` they see none."""
    latency, repeats = QueryLatencyTracker(clock=platform.clock), RepeatedReads()
    if is_on:
        latency.subscribe(platform.hub)
        repeats.subscribe(platform.hub)
        platform.on_requests.append(repeats.on_requests)
    return {QueryLatencyTracker: latency, RepeatedReads: repeats}
