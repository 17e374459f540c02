"""Entries, leases and tags in Valkey: what the cache's state machine is made of."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from app.core.valkey._cache_entry import Entry, Freshness, freshness, parse_valid, version_of, versions_of
from app.core.valkey._cache_options import TAG_LIFE_MS
from app.core.valkey._client import ValkeyClient
from app.core.valkey._errors import StoreError
from app.core.valkey._keys import tag_key
from app.core.valkey._script import Script

_PACKAGE = "app.core.valkey.lua"
_READ = Script.load(_PACKAGE, "cache_read.lua")
_LEASE = Script.load(_PACKAGE, "cache_lease.lua")
_STORE = Script.load(_PACKAGE, "cache_store.lua")
_RELEASE = Script.load(_PACKAGE, "cache_release.lua")
_THROTTLE = Script.load(_PACKAGE, "cache_throttle.lua")
TAG_SCRIPT = Script.load(_PACKAGE, "cache_tag.lua")
"""Reads the version of a tag, and gives it one if it has none. KEYS[1] the tag's key, ARGV[1] its life in ms."""
_INVALIDATE = Script.load(_PACKAGE, "cache_invalidate.lua")
CACHE_SCRIPTS = (_READ, _LEASE, _STORE, _RELEASE, _THROTTLE, TAG_SCRIPT, _INVALIDATE)
"""For ``ValkeyClient.preload``."""

_FIRST_POLL_S, _LONGEST_POLL_S = 0.010, 0.100
# A leader in this process tells its followers; they look by themselves only in case it cannot any more.
_POLL_OF_OUR_OWN_S = 1.0


class Seen(NamedTuple):
    """What stood under a key at ``now_ms`` of the server's clock.

    ``entry`` is None unless it is valid and may still be shown; ``versions`` are its tags' present ones; ``is_leased``: somebody is
    computing it; ``is_ours``: and that is this caller, since this very call.
    """

    entry: Entry | None
    now_ms: int
    versions: str
    is_leased: bool
    is_ours: bool = False

    @property
    def is_fresh(self) -> bool:
        """Whether the entry may be shown without a thought."""
        return self.entry is not None and freshness(self.entry, self.now_ms) is Freshness.FRESH


class Put(NamedTuple):
    """An entry on its way into the store, as the scripts take it: fresh_ms, stale_ms, delta_ms, versions, payload."""

    key: str
    arguments: tuple[bytes, bytes, bytes, bytes, bytes]


def lease_key(key: str) -> str:
    """Where the lease of computing an entry stands."""
    return f"{key}:l"


def new_token() -> str:
    """A name for one holder of a lease."""
    return secrets.token_hex(8)


class Entries:
    """Reads and writes entries. Keys are whole keys with a hash tag; tags are names.

    Each entry, with its lease, and each tag may live in a slot of its own. Calls raise ``StoreError`` when Valkey does not answer;
    ``rng`` gives numbers from 0 up to but not including 1.
    """

    def __init__(self, store: ValkeyClient, *, rng: Callable[[], float] = random.random) -> None:
        self._store = store
        self._rng = rng
        # Until when this process computes an entry, at most; a future only for those that somebody follows.
        self._announced: dict[str, float] = {}
        self._followed: dict[str, asyncio.Future[None]] = {}
        self._invalidations = 0

    @property
    def invalidations(self) -> int:
        """A number that changes whenever this process ends entries: who asks after that must not get what was begun before it."""
        return self._invalidations

    async def lookup(self, key: str, tags: Sequence[str] = ()) -> Seen:
        """Read one entry and the versions of its tags in one round trip; a second one if a tag has no version."""
        return (await self.lookup_many((key,), tags))[0]

    async def lookup_many(self, keys: Sequence[str], tags: Sequence[str] = ()) -> list[Seen]:
        """Read entries that have the same tags, in one round trip.

        An entry is valid if its versions are those that the tags had at any moment of the call, so tags and entries need not be
        read in one step.
        """
        submit = self._store.submit
        reads = [submit(_READ, (tag_key(tag),)) for tag in tags]
        entries = [submit(_READ, (key, lease_key(key))) for key in keys]
        found = [version_of((await read)[1]) for read in reads]
        missing = [
            submit(TAG_SCRIPT, (tag_key(tag),), (TAG_LIFE_MS,))
            for tag, version in zip(tags, found, strict=True)
            if not version
        ]
        renewed = iter([await version for version in missing])
        versions = versions_of([version or next(renewed) for version in found])
        return [_seen(await entry, versions) for entry in entries]

    async def take_lease(self, key: str, token: str, lease_ms: int, versions: str) -> Seen:
        """Become the one who computes ``key`` if nobody is; ``is_ours`` says so. Tells the entry as it is now, judged by ``versions``."""
        reply = await self._store.submit(_LEASE, (key, lease_key(key)), (token, lease_ms))
        seen = _seen(reply, versions)
        return seen._replace(is_leased=True, is_ours=seen.is_leased)

    def put(
        self,
        key: str,
        payload: bytes,
        *,
        ttl_ms: int,
        stale_ms: int,
        delta_ms: int,
        versions: str,
        jitter: float = 0.1,
    ) -> Put:
        """An entry for ``store``, or for a script of the caller's own, which must see that the lease is his; then ``told``.

        ``versions`` must have been read before the computation began. ``ttl_ms`` is changed by up to ``jitter`` of it either way.
        """
        ttl_ms = max(round(ttl_ms * (1 + jitter * (2 * self._rng() - 1))), 1)
        numbers = (b"%d" % ttl_ms, b"%d" % stale_ms, b"%d" % max(delta_ms, 0))
        return Put(key, (*numbers, versions.encode(), payload))

    def told(self, key: str) -> None:
        """Wake those who wait in this process: the entry was stored, or its lease given up, in another way than by a method of this."""
        self._wake(key)

    async def store(self, put: Put, *, token: str | None) -> bool:
        """Keep what was computed and end the lease. False: not kept, because the lease is lost or, without a token, somebody's.

        Those who wait for the entry in this process are woken in any case.
        """
        keys = (put.key, lease_key(put.key))
        try:
            return bool(await self._store.submit(_STORE, keys, (token or "", *put.arguments)))
        finally:
            self._wake(put.key)

    async def release(self, key: str, token: str) -> bool:
        """Give the lease up without a result; those who wait will look for another leader. False: it was not ours any more."""
        try:
            return bool(await self._store.submit(_RELEASE, (lease_key(key),), (token,)))
        finally:
            self._wake(key)

    def release_soon(self, key: str, token: str) -> None:
        """The same without waiting and without errors: if Valkey does not answer, the lease ends by itself."""
        self._wake(key)
        try:
            self._store.submit(_RELEASE, (lease_key(key),), (token,))
        except StoreError:
            return

    async def throttle(self, key: str, token: str, ms: int) -> bool:
        """Computing failed: let the stale entry count as fresh for ``ms``, not beyond its end, and give the lease up. False: not done."""
        try:
            return bool(await self._store.submit(_THROTTLE, (key, lease_key(key)), (token, ms)))
        finally:
            self._wake(key)

    async def invalidate_tags(self, *tags: str) -> None:
        """End every entry that has one of the tags, also those that are being computed now. One step a tag, one round trip in all.

        Call it after the commit of what changed. An error means that old entries may still be shown: try again.
        """
        self._invalidations += 1
        try:
            await _all([self._store.submit(_INVALIDATE, (tag_key(tag),), (TAG_LIFE_MS,)) for tag in tags])
        finally:
            self._invalidations += 1

    async def delete(self, *keys: str) -> None:
        """Remove entries; whoever computes one of them now will not store it.

        He and those in other processes who wait for him still get what he computes: use a tag where that matters.
        """
        self._invalidations += 1
        try:
            await asyncio.gather(*(self._store.execute("DEL", key, lease_key(key)) for key in keys))
        finally:
            self._invalidations += 1

    def announce(self, key: str, lease_ms: int = 10_000) -> None:
        """Say that this process computes ``key``, so that its followers here are woken by ``store``, ``release`` or ``throttle``."""
        announced, now = self._announced, time.monotonic()
        # Whoever announced and never came back is forgotten by those who come later; leases are about equally long.
        while announced and announced[oldest := next(iter(announced))] < now:
            self._wake(oldest)
        announced.setdefault(key, now + lease_ms / 1000)

    def _wake(self, key: str) -> None:
        self._announced.pop(key, None)
        if self._followed and (done := self._followed.pop(key, None)) is not None and not done.done():
            done.set_result(None)

    def _end_of(self, key: str) -> asyncio.Future[None]:
        """Done when this process has computed the entry that it announced."""
        done = self._followed.get(key)
        if done is None:
            done = self._followed[key] = asyncio.get_running_loop().create_future()
        return done

    async def wait_for(self, key: str, tags: Sequence[str], timeout: float) -> Entry | None:  # noqa: ASYNC109 - a result, not an error
        """A follower's wait for a fresh entry, at most ``timeout`` seconds. None: the time is over, or nobody computes it any more."""
        seen = await self.follow(key, tags, timeout)
        return seen.entry if seen.is_fresh else None

    async def follow(self, key: str, tags: Sequence[str], timeout: float) -> Seen:  # noqa: ASYNC109 - a result, not an error
        """As ``wait_for``, telling what was seen last."""
        loop = asyncio.get_running_loop()
        end, poll = loop.time() + timeout, _FIRST_POLL_S
        while True:
            seen = await self.lookup(key, tags)
            left = end - loop.time()
            if seen.is_fresh or not seen.is_leased or left <= 0:
                return seen
            if key in self._announced:
                await asyncio.wait({self._end_of(key)}, timeout=min(_POLL_OF_OUR_OWN_S, left))
            else:
                await asyncio.sleep(min(poll, left))
                poll = min(poll * 1.5, _LONGEST_POLL_S)


def _seen(reply: tuple[int, bytes | None, int], versions: str) -> Seen:
    now_ms, stored, leased = reply
    entry = parse_valid(stored, versions)
    if entry is not None and freshness(entry, now_ms) is Freshness.GONE:
        entry = None
    return Seen(entry, now_ms, versions, bool(leased))


async def _all(calls: Iterable[asyncio.Future[Any]]) -> None:
    """Wait for every call, then raise the first error."""
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
