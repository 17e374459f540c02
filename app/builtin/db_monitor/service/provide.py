"""What the monitor provides to the application."""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import SecretStr

from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.http import Platform
from app.core.monitor import MonitorServer


class MonitorOptions(Protocol):
    """What the monitor reads of its group of settings."""

    @property
    def database_url(self) -> SecretStr | None:
        """Where it connects as a role of its own; None: as the service."""


class MonitorSettings(Protocol):
    """What the monitor reads of the settings."""

    @property
    def monitor(self) -> MonitorOptions:
        """Its own group."""


def provide_monitor(platform: Platform, settings: MonitorSettings) -> Mapping[type[Any], Any]:
    """The server that is watched, over connections of its own: as ``MONITOR__DATABASE_URL`` says, or as the service connects.

    Raises ConfigurationError for a URL that is none.
    """
    server = MonitorServer(_watched(platform, settings.monitor.database_url), clock=platform.clock)
    platform.on_stop.append(server.close)
    return {MonitorServer: server}


def _watched(platform: Platform, url: SecretStr | None) -> Database:
    if url is None:
        return platform.database
    try:
        return Database(url.get_secret_value())  # Connects to nothing: the monitor has a pool of its own.
    except ConfigurationError as error:
        raise ConfigurationError(f"MONITOR__{error.detail}") from None
