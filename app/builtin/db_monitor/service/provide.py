"""What the monitor provides to the application."""

from collections.abc import Mapping
from typing import Any

from app.builtin.db_monitor.service.caches import Caches
from app.core.http import Platform
from app.core.monitor import BufferCacheWatch, MonitorServer, OwnCaches


def provide_monitor(platform: Platform, _settings: object) -> Mapping[type[Any], Any]:
    """The server that is watched: that of the platform's database, over connections of its own."""
    server = MonitorServer(platform.database, clock=platform.clock)
    platform.on_stop.append(server.close)
    caches = Caches(OwnCaches(platform.hub), BufferCacheWatch(platform.clock))
    return {MonitorServer: server, Caches: caches}
