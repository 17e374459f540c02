"""What tests of the cache share."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from app.core.observability import CacheEvent, EventHub
from app.core.valkey import Cache, CacheOptions, Entry, Seen, ValkeyClient

KEY = "{p:thing}:v1:e"
MINUTE = CacheOptions(ttl=60)


class Watched:
    """A cache, and how often each kind of event came from it."""

    def __init__(self, store: ValkeyClient, **options: Any) -> None:
        self.events: Counter[str] = Counter()
        hub = EventHub()
        hub.subscribe(CacheEvent, lambda event: self.events.update([str(event[0])]))
        self.cache = Cache(store, hub=hub, **options)


class Source:
    """What is expensive: counts its calls and gives what it is told to, when it is told to."""

    def __init__(self, value: Any = "new") -> None:
        self.value = value
        self.calls = 0
        self.error: Exception | None = None
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Any:
        self.calls += 1
        value = self.value
        self.started.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return value

    def hold(self) -> None:
        """Let calls hang until ``gate`` is set."""
        self.started.clear()
        self.gate.clear()


class Overtaken(Cache):
    """Between its look and its lease of one of ``keys`` another process stores a value and gives its own lease up."""

    def __init__(self, store: ValkeyClient, keys: tuple[str, ...]) -> None:
        super().__init__(store)
        self._overtaken = keys

    async def take_lease(self, key: str, token: str, lease_ms: int, versions: str) -> Seen:
        if key in self._overtaken:
            other = Cache(self._store)
            await other.store(
                other.put(key, b'"theirs"', ttl_ms=60_000, stale_ms=0, delta_ms=0, versions=versions),
                token=None,
            )
        return await super().take_lease(key, token, lease_ms, versions)


async def age(store: ValkeyClient, ms: int, key: str = KEY) -> None:
    """Let time pass for an entry: all its times move into the past."""
    entry = Entry.parse(await store.execute("GET", key))
    head = f"{entry.created - ms} {entry.fresh - ms} {entry.stale - ms} {entry.delta} {entry.versions}\n"
    await store.execute("SET", key, head.encode() + entry.payload, "KEEPTTL")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns when the condition holds; it must come true within 10 s."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.005)


async def until_free(store: ValkeyClient) -> None:
    """Returns when nobody holds the lease any more: one that is given up without waiting goes a moment later."""

    async def is_free() -> bool:
        return bool(await store.execute("EXISTS", f"{KEY}:l") == 0)

    await until(is_free)
