"""Caches: ours, PostgreSQL's buffers, and Valkey."""

from dataclasses import dataclass
from typing import Any

from app.builtin.db_monitor.schemas.cache import BuffersOut, CacheOut, OwnCacheOut, StoreOut
from app.builtin.db_monitor.service.parts import findings_of, unavailable
from app.core.monitor import BufferCacheWatch, MonitorServer, OwnCaches, Panel, panel, store_state
from app.core.valkey import ValkeyClient


@dataclass(frozen=True, slots=True)
class Caches:
    """What this process remembers of caches: of its own, and of the server's buffers between two looks."""

    own: OwnCaches
    buffers: BufferCacheWatch


async def look_at_caches(server: MonitorServer, caches: Caches, store: ValkeyClient) -> CacheOut:
    """Each part fails alone."""
    buffers = await panel("buffers", lambda: server.put(caches.buffers.look))
    state = await panel("store", lambda: store_state(store))
    parts: dict[str, Panel[Any]] = {"buffers": buffers, "store": state}
    return CacheOut(
        own=OwnCacheOut.all_of(caches.own.read()),
        buffers=None if buffers.value is None else BuffersOut.model_validate(buffers.value),
        store=None if state.value is None else StoreOut.model_validate(state.value),
        unavailable=unavailable(parts),
        findings=findings_of(parts),
    )
