"""The process's cache, and what came of each call to it."""

from collections.abc import AsyncIterator

import pytest

from app.core.observability import CacheEvent, EventHub
from app.core.security import Sealer
from app.core.valkey import Cache, ValkeyClient, configure_cache


class Watched:
    """A cache that seals, and its events."""

    def __init__(self, store: ValkeyClient) -> None:
        self.events: list[str] = []
        hub = EventHub()
        hub.subscribe(CacheEvent, lambda event: self.events.append(str(event[0])))
        self.cache = Cache(store, hub=hub, seal=Sealer(["a key of the tests, thirty-two bytes or more"]))

    def told(self) -> list[str]:
        """What callers got since the last time."""
        told = [kind for kind in self.events if kind not in ("stored", "lost")]
        self.events.clear()
        return told


@pytest.fixture
async def watched(store: ValkeyClient, clean_store: None) -> AsyncIterator[Watched]:
    """The process's cache for one test."""
    watched = Watched(store)
    configure_cache(watched.cache)
    yield watched
    configure_cache(None)
    await watched.cache.close()
