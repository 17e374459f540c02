"""What the monitor provides to the application."""

from collections.abc import Mapping
from typing import Any

from app.builtin.db_monitor.service.table_sampling import TableSampling
from app.core.http import Platform
from app.core.monitor import MonitorServer


def provide_monitor(platform: Platform, settings: Any) -> Mapping[type[Any], Any]:
    """The server that is watched, that of the platform's database, over connections of its own; and who keeps its history."""
    server = MonitorServer(platform.database, clock=platform.clock)
    platform.on_stop.append(server.close)
    sampling = TableSampling(server, platform.database, months=settings.monitor.history_months)
    return {MonitorServer: server, TableSampling: sampling}
