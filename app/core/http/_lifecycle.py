"""The life of one application: what starts, and in which order all of it stops."""

from typing import Protocol

import structlog

from app.core.db import configure
from app.core.http._platform import Platform
from app.core.http._threads import limit_threads
from app.core.policies import (
    ADMIT,
    EPOCH_SCRIPTS,
    EXTEND,
    HOLD_SCRIPTS,
    SETTLE,
    SETTLE_AND_KEEP,
    configure_engine,
)
from app.core.resilience import Deadlines
from app.core.valkey import CACHE_SCRIPTS, StoreError, StoreReplyError, configure_cache

_log = structlog.get_logger(__name__)
_SCRIPTS = (ADMIT, SETTLE, SETTLE_AND_KEEP, EXTEND, *CACHE_SCRIPTS, *HOLD_SCRIPTS, *EPOCH_SCRIPTS)


class Recurring(Protocol):
    """Work that is done again and again."""

    async def start(self) -> None:
        """Begin, and return."""

    async def stop(self) -> None:
        """End what runs, and start nothing more."""


class Lifecycle:
    """Starts and stops what one application is made of; each once, for its lifespan.

    ``deadlines`` are those that its gates watch; ``periodic`` runs beside the requests. Audit first: ``start`` ends with letting them in.
    """

    def __init__(self, platform: Platform, deadlines: Deadlines, periodic: Recurring) -> None:
        self._platform = platform
        self._deadlines = deadlines
        self._periodic = periodic

    async def start(self, *, threads: int) -> None:
        """Make ready, then let requests in. ``threads`` is how many plain functions may run at once."""
        platform = self._platform
        await platform.cluster_mode.learn()
        await self._prepare_store()
        configure(platform.database)
        configure_cache(platform.cache)
        configure_engine(platform.engine)
        limit_threads(threads)
        if platform.switches is not None:
            await platform.switches.start()
        await self._periodic.start()
        platform.traffic.pass_audit()

    async def _prepare_store(self) -> None:
        """Learn its time and load the scripts. Raises StoreReplyError for a server that is there and does not take them."""
        try:
            await self._platform.admitter.learn_time()
            await self._platform.store.preload(_SCRIPTS)
        except StoreReplyError:
            raise
        except StoreError:
            return  # an API that starts during an outage serves in its degraded modes

    async def stop(self) -> None:
        """Take no more, end what runs, then close the connections: what ends last needs them."""
        platform = self._platform
        platform.traffic.drain()
        self._deadlines.close()
        await platform.background.close()
        await self._periodic.stop()
        if platform.switches is not None:
            await platform.switches.stop()
        await self._stop_features()
        configure_engine(None)
        await platform.cache.close()
        configure_cache(None)
        await platform.admitter.close()
        await platform.store.close()
        await platform.database.close()

    async def _stop_features(self) -> None:
        """Everything that features want done before the connections close; one that fails does not keep the others from it."""
        await self._platform.renewals.close()
        for stop in self._platform.on_stop:
            try:
                if (waiting := stop()) is not None:
                    await waiting
            except Exception:  # noqa: BLE001 - the outermost frame of the application's end
                _log.exception("app.stop_failed")
