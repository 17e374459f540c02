"""Many keys at once: one round trip to read, one to become leader, one call of the loader."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, final

from app.core.valkey._cache_entries import Entries, Seen, new_token
from app.core.valkey._cache_entry import Entry
from app.core.valkey._cache_making import Making, making
from app.core.valkey._cache_options import CacheOptions
from app.core.valkey._cache_values import Codec
from app.core.valkey._cache_writer import Lead, Made, Writer, hides
from app.core.valkey._errors import StoreError

Loader = Callable[[Sequence[str]], Awaitable[Mapping[str, Any]]]
_MOST_KEYS = 1000


class Storing(NamedTuple):
    """How the values of one call are stored."""

    options: CacheOptions
    tags: tuple[str, ...]
    codec: Codec


@final
class Batch:
    """One ``get_or_set_many``."""

    def __init__(
        self,
        entries: Entries,
        writer: Writer,
        emit: Callable[[str, CacheOptions], None],
        loader: Loader,
        storing: Storing,
    ) -> None:
        self._entries = entries
        self._writer = writer
        self._emit = emit
        self._loader = loader
        self._options, self._tags, self._codec = storing
        self._values: dict[str, Any] = {}
        self._stale: dict[str, tuple[Entry, Any]] = {}
        self._is_away = False

    async def run(self, keys: Sequence[str]) -> list[Any]:
        """Values in the order of ``keys``; a key may stand there twice. Raises ValueError for too many."""
        if len(keys) > _MOST_KEYS:
            raise ValueError(f"get_or_set_many takes at most {_MOST_KEYS} keys, not {len(keys)}")
        wanted = list(dict.fromkeys(keys))
        try:
            looked = await self._entries.lookup_many(wanted, self._tags)
        except StoreError:
            self._is_away = True
            await self._load(wanted, {})
        else:
            for key, seen in zip(wanted, looked, strict=True):
                self._take(key, seen, "hit")
            if missing := self._missing(wanted):
                await self._obtain(missing, looked[0].versions)
        return [self._values[key] for key in keys]

    def _missing(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if key not in self._values]

    def _take(self, key: str, seen: Seen, kind: str) -> bool:
        """Keep what was seen: as the key's value if it is fresh, as a substitute if it is stale."""
        value, is_readable = self._codec.read(seen.entry, key)
        if seen.entry is None:
            return False
        if not is_readable:
            self._emit("unreadable", self._options)
            return False
        if not seen.is_fresh:
            self._stale[key] = (seen.entry, value)
            return False
        self._values[key] = value
        self._emit(kind, self._options)
        return True

    def _show_stale(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._values[key] = self._stale[key][1]
            self._emit("stale", self._options)

    async def _obtain(self, missing: list[str], versions: str) -> None:
        """Make what nobody makes; show the stale value or wait for what somebody makes; make what he did not."""
        leads = await self._lease(missing, versions)
        await self._load([key for key in self._missing(missing) if key in leads or self._is_away], leads)
        self._show_stale([key for key in self._missing(missing) if key in self._stale])
        if left := self._missing(missing):
            versions = await self._follow(left, versions)
            leads = await self._lease(self._missing(left), versions)
            await self._load(self._missing(left), leads)

    async def _lease(self, keys: Sequence[str], versions: str) -> dict[str, Lead]:
        """Become leader of as many as possible. What was stored meanwhile is taken."""
        leads = {key: Lead(key, new_token(), versions, self._options, self._codec) for key in keys}
        try:
            looked = await asyncio.gather(*(self._take_lease(lead) for lead in leads.values()))
        except BaseException as error:
            # Some may have been taken before the answer was lost.
            self._release(leads)
            if not isinstance(error, StoreError):
                raise
            self._is_away = True
            return {}
        for key, seen in zip(keys, looked, strict=True):
            if self._take(key, seen, "hit") and seen.is_ours:
                self._entries.release_soon(key, leads[key].token)
            if key in self._values or not seen.is_ours:
                del leads[key]
        return leads

    def _take_lease(self, lead: Lead) -> Awaitable[Seen]:
        return self._entries.take_lease(lead.key, lead.token, lead.options.lease_ms, lead.versions)

    async def _follow(self, keys: Sequence[str], versions: str) -> str:
        """Wait for what others make. Returns the versions of the tags as they were seen last."""
        waits = (self._entries.follow(key, self._tags, self._options.hard_timeout) for key in keys)
        for key, seen in zip(keys, await asyncio.gather(*waits, return_exceptions=True), strict=True):
            if isinstance(seen, Seen):
                self._take(key, seen, "wait")
                versions = seen.versions
            elif not isinstance(seen, StoreError):
                raise seen
        return versions

    def _release(self, leads: Mapping[str, Lead]) -> None:
        for key, lead in leads.items():
            self._entries.release_soon(key, lead.token)

    async def _load(self, keys: Sequence[str], leads: Mapping[str, Lead]) -> None:
        """Call the loader for all of ``keys``, and keep those whose leases are ours."""
        if not keys:
            return
        for key in leads:
            self._entries.announce(key, self._options.lease_ms)
        started = self._writer.clock.monotonic()
        try:
            with making() if leads else nullcontext(Making()) as work:
                loaded = await self._loader(tuple(keys))
            made = {key: Made(self._codec.shape(loaded.get(key)), is_fit=work.is_fit) for key in keys}
        except BaseException as error:
            if not isinstance(error, Exception):
                self._release(leads)
                raise
            await self._failed(keys, leads, error)
            return
        seconds = self._writer.clock.monotonic() - started
        await asyncio.gather(*(self._writer.keep(lead, made[key], seconds) for key, lead in leads.items()))
        for key in keys:
            self._values[key] = made[key].value
            self._emit("bypass" if self._is_away else "miss", self._options)

    async def _failed(self, keys: Sequence[str], leads: Mapping[str, Lead], error: Exception) -> None:
        """Give the leases up, and show stale values if there is one for every key; otherwise raise ``error``."""
        stale = {key: self._stale[key][0] for key in keys if key in self._stale}
        await asyncio.gather(
            *(self._writer.failed(lead, stale.get(key), error) for key, lead in leads.items())
        )
        if not hides(error) or len(stale) < len(keys):
            raise error
        self._show_stale(keys)
