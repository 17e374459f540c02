"""What the monitor provides to the application."""

from collections.abc import Mapping
from typing import Any

from app.builtin.db_monitor.service.slow_queries import SlowQueries
from app.builtin.db_monitor.service.statement_sampler import StatementSampler
from app.core.http import Platform
from app.core.monitor import MonitorServer


def provide_monitor(platform: Platform, settings: Any) -> Mapping[type[Any], Any]:
    """The server that is watched, that of the platform's database, over connections of its own; who asks it, and who keeps its history."""
    server = MonitorServer(platform.database, clock=platform.clock)
    platform.on_stop.append(server.close)
    return {
        MonitorServer: server,
        SlowQueries: SlowQueries(server, platform.database),
        StatementSampler: StatementSampler(server, platform.database, months=settings.monitor.history_months),
    }
