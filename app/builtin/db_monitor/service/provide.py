"""What the monitor provides to the application."""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import SecretStr

from app.builtin.db_monitor.service.board import Board
from app.builtin.db_monitor.service.caches import Caches
from app.builtin.db_monitor.service.overview import Overview
from app.builtin.db_monitor.service.slow_queries import SlowQueries
from app.builtin.db_monitor.service.statement_sampler import StatementSampler
from app.builtin.db_monitor.service.table_sampling import TableSampling
from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.http import Platform
from app.core.monitor import (
    BufferCacheWatch,
    ConnectionPoolMonitor,
    DeadlockAudit,
    MonitorServer,
    OwnCaches,
    QueryLatencyTracker,
    RepeatedReads,
)


class MonitorOptions(Protocol):
    """What the monitor reads of its group of settings."""

    @property
    def track_latency(self) -> bool:
        """Whether the service's statements are watched."""

    @property
    def history_months(self) -> int:
        """How long the history is kept."""

    @property
    def database_url(self) -> SecretStr | None:
        """Where it connects as a role of its own; None: as the service."""


class MonitorSettings(Protocol):
    """What the monitor reads of the settings."""

    @property
    def monitor(self) -> MonitorOptions:
        """Its own group."""


def provide_monitor(platform: Platform, settings: MonitorSettings) -> Mapping[type[Any], Any]:
    """The server that is watched, that of the platform's database, over connections of its own; and who watches the service's statements
    (unless the settings say that nobody does) and keeps its history. Raises ConfigurationError for a URL that is none.
    """
    server = MonitorServer(_watched(platform, settings.monitor.database_url), clock=platform.clock)
    platform.on_stop.append(server.close)
    latency, repeats = QueryLatencyTracker(clock=platform.clock), RepeatedReads()
    if settings.monitor.track_latency:
        latency.subscribe(platform.hub)
        repeats.subscribe(platform.hub)
        platform.on_requests.append(repeats.on_requests)
    months = settings.monitor.history_months
    sampling = TableSampling(server, platform.database, months=months)
    caches = Caches(OwnCaches(platform.hub), BufferCacheWatch(platform.clock))
    slow = SlowQueries(server, platform.database, latency if settings.monitor.track_latency else None)
    overview = Overview(server, platform.database, platform.store, caches=caches, slow=slow, repeats=repeats)
    return {
        MonitorServer: server,
        Board: Board(platform.clock, background=platform.background),
        Caches: caches,
        Overview: overview,
        ConnectionPoolMonitor: ConnectionPoolMonitor(platform.database),
        DeadlockAudit: DeadlockAudit(server, platform.database),
        QueryLatencyTracker: latency,
        RepeatedReads: repeats,
        SlowQueries: slow,
        StatementSampler: StatementSampler(server, platform.database, months=months),
        TableSampling: sampling,
    }


def _watched(platform: Platform, url: SecretStr | None) -> Database:
    if url is None:
        return platform.database
    try:
        return Database(url.get_secret_value())  # Connects to nothing: the monitor has a pool of its own.
    except ConfigurationError as error:
        raise ConfigurationError(f"MONITOR__{error.detail}") from None
