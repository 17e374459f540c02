"""The cache: a value from Valkey, or made once and stored, whatever happens meanwhile."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, NamedTuple

from app.core.errors import ConfigurationError
from app.core.observability import CacheEvent, EventHub
from app.core.resilience import Clock, SystemClock
from app.core.valkey._cache_batch import Batch, Loader, Storing
from app.core.valkey._cache_debts import Debts
from app.core.valkey._cache_entries import Entries, Seen, new_token
from app.core.valkey._cache_entry import Entry, is_due
from app.core.valkey._cache_flights import LATE, Abandoned, Flight, Flights
from app.core.valkey._cache_making import spoil
from app.core.valkey._cache_options import CacheOptions
from app.core.valkey._cache_values import Codec, Sealer
from app.core.valkey._cache_writer import Lead, Made, Writer, hides
from app.core.valkey._client import ValkeyClient
from app.core.valkey._errors import StoreError

Make = Callable[[], Awaitable[Any]]


class _Call(NamedTuple):
    """One ``get_or_set``, as its parts hand it on."""

    key: str
    make: Make
    options: CacheOptions
    tags: tuple[str, ...]
    codec: Codec

    def lead(self, token: str, versions: str) -> Lead:
        """This call as the holder of a lease."""
        return Lead(self.key, token, versions, self.options, self.codec)


class Cache(Entries):
    """Values in Valkey, each made by one caller at a time over all processes.

    ``store``: the client; its budget is what a lookup may cost. ``hub`` receives ``CacheEvent``; ``rng`` gives numbers from 0 up to
    but not including 1; ``seal`` serves calls whose options say ``sealed``. One cache belongs to one event loop.

    States of an entry: fresh: shown. Eager: shown, and made anew in the background. Stale: made anew, and shown if that takes longer
    than ``soft_timeout`` or fails. Gone: made by the first caller; others wait up to ``hard_timeout``, then make it themselves. While
    Valkey is away every value is made, once per process at a time; no caller sees an error of the cache.

    Not for state that must not be lost or must be right at once (balances, permissions): Valkey may drop any entry, and a failover
    may lose the last invalidations.
    """

    def __init__(
        self,
        store: ValkeyClient,
        *,
        clock: Clock | None = None,
        hub: EventHub | None = None,
        rng: Callable[[], float] = random.random,
        seal: Sealer | None = None,
    ) -> None:
        super().__init__(store, rng=rng)
        self._hub = hub or EventHub()
        self._seal = seal
        self._flights = Flights()
        self._debts = Debts(lambda *tags: self.invalidate_tags(*tags))  # noqa: PLW0108 - looked up at each call, as callers do
        self._writer = Writer(self, clock or SystemClock(), self.emit)

    def emit(self, kind: str, options: CacheOptions) -> None:
        """Tell subscribers what was done for a caller."""
        self._hub.emit(CacheEvent(kind, options.name))

    async def close(self) -> None:
        """Cancel what is being made, also what callers still wait for: they begin anew. Call it when no more callers come."""
        await self._debts.close()
        await self._flights.close()

    async def end_tags(self, *tags: str) -> None:
        """``invalidate_tags`` for after a commit: never raises for the store, and tries again until it is done."""
        await self._debts.end(tags)

    def owes(self, tags: Sequence[str]) -> bool:
        """Whether an entry with one of the tags may be too old: it was to end, and the store has been away since."""
        return self._debts.has(tags)

    async def get_or_set(
        self, key: str, fn: Make, options: CacheOptions, tags: Sequence[str] = (), *, model: Any = None
    ) -> Any:
        """The value under ``key`` (a whole key with a hash tag), or what ``fn`` gives, which is then stored.

        Give ``tags`` for whatever the value depends on; ``model`` (any type that Pydantic knows) to get that type each time instead of
        plain JSON data on hits. ``fn`` may run in a task of its own and, with ``stale`` or ``eager``, longer than its caller: it must
        then open its own database session. What it raises is raised to all who wait, unless a stale value can be shown; errors that
        are answers (not found, forbidden: a status of 4xx other than 408, 425, 429) are always raised.
        """
        codec = self._codec(options, model)
        call = _Call(key, codec.shaped(fn), options, tuple(sorted(set(tags))), codec)
        # Once, unless the one whose work this caller waits for goes away and it fails with him.
        while (outcome := await self._attempt(call)) is LATE:
            pass
        return outcome

    async def get_or_set_many(
        self,
        keys: Sequence[str],
        loader: Loader,
        options: CacheOptions,
        tags: Sequence[str] = (),
        *,
        model: Any = None,
    ) -> list[Any]:
        """Values in the order of ``keys`` (at most 1000); all that are missing come from one call, ``loader(missing_keys)``, by key.

        A key that the loader leaves out is ``None``, and kept as such only with ``negative_ttl``. Keys that somebody else is making
        are waited for, up to ``hard_timeout``, then loaded in a second call. Raises what the loader raises, unless every key that it
        was asked for has a stale value. Also the way to warm a cache.
        """
        codec = self._codec(options, model)
        batch = Batch(
            self, self._writer, self.emit, loader, Storing(options, tuple(sorted(set(tags))), codec)
        )
        return await batch.run(keys)

    def _codec(self, options: CacheOptions, model: Any) -> Codec:
        if options.sealed and self._seal is None:
            raise ConfigurationError("CacheOptions.sealed needs a cache with a sealer: Cache(..., seal=...)")
        return Codec(model, self._seal if options.sealed else None)

    async def _attempt(self, call: _Call) -> Any:
        """The value, or ``LATE`` if it is to be tried again."""
        try:
            seen = await self.lookup(call.key, call.tags)
        except StoreError:
            return await self._make(call, None, None)
        value, is_readable = call.codec.read(seen.entry, call.key)
        if seen.entry is not None and not is_readable:
            self.emit("unreadable", call.options)
        if not is_readable:
            return await self._make(call, seen.versions, seen.entry)
        if not seen.is_fresh:
            return await self._renewed_or(value, call, seen)
        self.emit("hit", call.options)
        if call.options.eager and seen.entry is not None and is_due(seen.entry, seen.now_ms, self._rng):
            self._renew(call, seen)
        return value

    # Gone: somebody makes it, and all others wait

    async def _make(self, call: _Call, versions: str | None, known: Entry | None) -> Any:
        """Make it, or wait for who makes it in this process. ``versions`` is None while Valkey is away."""
        name = self._name(call, versions)
        flight = self._flights.find(name)
        if flight is not None:
            return await self._join(call, flight)
        work = self._lead(call, versions, known) if versions is not None else _without_store(call)
        seconds = call.options.hard_timeout + call.options.lease_ms / 1000
        flight = self._flights.start(name, work, outlives=False, seconds=seconds)
        try:
            made: Made = await flight.join(None, is_first=True)
        except Abandoned:
            raise asyncio.CancelledError from None
        self.emit(made.kind, call.options)
        return made.value

    def _name(self, call: _Call, versions: str | None) -> Hashable:
        """Who comes after an invalidation must not get what was begun before it: its versions, or our count, are other ones."""
        return call.key, versions, self._invalidations

    async def _join(self, call: _Call, flight: Flight) -> Any:
        try:
            made: Made | object | None = await flight.join(call.options.hard_timeout)
        except Abandoned:
            return LATE
        except Exception:
            if flight.is_orphan:
                return LATE
            raise
        if isinstance(made, Made):
            if not made.is_fit:
                spoil()  # Its leader has told only the values that he makes himself.
            self.emit("bypass" if made.kind == "bypass" else "wait", call.options)
            return made.copy(call.codec, call.key)
        if made is None:  # a refresh that left it to another process, and the old value has ended meanwhile
            return LATE
        self.emit("miss", call.options)
        return await call.make()

    async def _lead(self, call: _Call, versions: str, known: Entry | None) -> Made:
        """Make it as leader over all processes, or get it from who is; who takes too long is not waited for any longer."""
        token = new_token()
        try:
            seen, theirs = await self._lead_or_follow(call, token, versions, known)
        except StoreError:
            # The lease may have been taken before the answer was lost.
            self.release_soon(call.key, token)
            return await _without_store(call)
        if theirs is not None:
            return theirs
        if not seen.is_ours:
            return Made(await call.make())
        return await self._writer.make(call.lead(token, seen.versions), call.make, None)

    async def _lead_or_follow(
        self, call: _Call, token: str, versions: str, known: Entry | None
    ) -> tuple[Seen, Made | None]:
        """Try for the lease and wait for its holder by turns: until it is ours, somebody has stored a value, or the time is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + call.options.hard_timeout
        while True:
            seen = await self.take_lease(call.key, token, call.options.lease_ms, versions)
            theirs = self._theirs(call, seen, known)
            if theirs is not None and seen.is_ours:
                self.release_soon(call.key, token)
            if theirs is not None or seen.is_ours or loop.time() >= end:
                return seen, theirs
            seen = await self.follow(call.key, call.tags, end - loop.time())
            versions, theirs = seen.versions, self._theirs(call, seen, known)
            if theirs is not None or seen.is_fresh:
                return seen, theirs

    def _theirs(self, call: _Call, seen: Seen, known: Entry | None) -> Made | None:
        """What somebody else has stored since ``known`` was read, if it can be read."""
        if not seen.is_fresh or seen.entry is None or seen.entry == known:
            return None
        value, is_readable = call.codec.read(seen.entry, call.key)
        return Made(value, seen.entry.payload, kind="wait") if is_readable else None

    # Stale and eager: the old value is there

    async def _renewed_or(self, old: Any, call: _Call, seen: Seen) -> Any:
        """A new value if it is made soon, otherwise the old one."""
        try:
            made = await self._renew(call, seen).join(call.options.soft_timeout)
        except Exception as error:
            if not hides(error):
                raise
            made = None
        if not isinstance(made, Made):
            self.emit("stale", call.options)
            return old
        if not made.is_fit:
            spoil()
        self.emit(made.kind, call.options)
        return made.copy(call.codec, call.key)

    def _renew(self, call: _Call, seen: Seen) -> Flight:
        """Begin to make it anew, unless this process is at it already."""
        name = self._name(call, seen.versions)
        flight = self._flights.find(name)
        if flight is None:
            seconds = call.options.lease_ms / 1000
            flight = self._flights.start(name, self._refresh(call, seen), outlives=True, seconds=seconds)
        return flight

    async def _refresh(self, call: _Call, seen: Seen) -> Made | None:
        """Make it anew if nobody else does. None: somebody does, or Valkey is away, and the old value has to do."""
        token = new_token()
        try:
            now = await self.take_lease(call.key, token, call.options.lease_ms, seen.versions)
        except StoreError:
            self.release_soon(call.key, token)
            return None
        theirs = self._theirs(call, now, seen.entry)
        if theirs is not None and now.is_ours:
            self.release_soon(call.key, token)
        if theirs is not None or not now.is_ours:
            return theirs
        self.emit("refresh", call.options)
        return await self._writer.make(call.lead(token, seen.versions), call.make, now.entry)


async def _without_store(call: _Call) -> Made:
    return Made(await call.make(), kind="bypass")
