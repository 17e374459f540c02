"""Whether the store is a Cluster, where one script can only use the keys of one slot: asked of the server itself."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import structlog

from app.core.observability import Event, EventHub, StoreEvent
from app.core.valkey import StoreError, StoreReplyError

_PATIENCE_S = 0.3
_log = structlog.get_logger(__name__)


class Server(Protocol):
    """The part of the Valkey client that this needs."""

    def execute(self, *args: str, timeout_s: float | None = None) -> Awaitable[Any]:
        """Send one command. Raises StoreError."""


class ClusterMode:
    """Asks at the start, and if nobody answers then, as soon as the store comes up. ``tell`` is called once, if it is a Cluster.

    start: runs the question that a store which came up is asked. Not for servers that enforce slots and do not say so (proxies), or that
    refuse INFO: for these the door is told by its setting.
    """

    def __init__(
        self,
        server: Server,
        *,
        hub: EventHub,
        tell: Callable[[], None],
        start: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._server = server
        self._tell = tell
        self._start = start
        self._is_known = False
        self._is_asking = False
        hub.subscribe(StoreEvent, self._on_store)

    async def learn(self) -> None:
        """Ask, unless it is known. Raises nothing: while the store is away nothing is learned."""
        if self._is_known or self._is_asking:
            return
        self._is_asking = True
        try:
            info = await self._server.execute("INFO", "cluster", timeout_s=_PATIENCE_S)
            self._is_known = True
        except StoreReplyError as error:
            _log.warning("store.mode_unknown", error=str(error))
            self._is_known = True
            return
        except StoreError:
            return
        finally:
            self._is_asking = False
        if b"cluster_enabled:1" in info:
            _log.info("store.cluster")
            self._tell()

    def _on_store(self, event: Event) -> None:
        if isinstance(event, StoreEvent) and event.state == "up" and not (self._is_known or self._is_asking):
            self._start(self.learn())
