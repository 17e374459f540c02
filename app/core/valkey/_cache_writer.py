"""Making a value under a lease, and storing it."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, final

import structlog

from app.core.errors import GatehouseError
from app.core.resilience import Clock
from app.core.valkey._cache_entries import Entries
from app.core.valkey._cache_entry import Entry
from app.core.valkey._cache_making import making
from app.core.valkey._cache_options import CacheOptions, milliseconds
from app.core.valkey._cache_values import Codec, Unkept
from app.core.valkey._errors import StoreError

log = structlog.get_logger(__name__)


class Lead(NamedTuple):
    """Who makes the value of ``key``: the holder of the lease ``token``, since the tags had ``versions``."""

    key: str
    token: str
    versions: str
    options: CacheOptions
    codec: Codec


@final
class Made:
    """A value, with its payload once it has one. ``kind`` is that of the event: miss (made here), wait (somebody else's), bypass.

    Not ``is_fit``: it was made of what may not be kept.
    """

    __slots__ = ("is_fit", "kind", "payload", "value")

    def __init__(
        self, value: Any, payload: bytes | None = None, *, kind: str = "miss", is_fit: bool = True
    ) -> None:
        self.value = value
        self.payload = payload
        self.kind = kind
        self.is_fit = is_fit

    def copy(self, codec: Codec, key: str) -> Any:
        """The value for one more caller, his own to change, as he would have read it.

        The value itself if JSON cannot hold it, or if this caller asked for it in another way than the one who made it.
        """
        try:
            self.payload = self.payload if self.payload is not None else codec.encode(self.value, key)
            return codec.decode(self.payload, key)
        except (TypeError, ValueError, GatehouseError):
            return codec.shape(self.value)


@final
class Writer:
    """Makes values as the holder of their leases."""

    def __init__(self, entries: Entries, clock: Clock, emit: Callable[[str, CacheOptions], None]) -> None:
        self._entries = entries
        self.clock = clock
        self._emit = emit

    async def make(self, lead: Lead, make: Callable[[], Awaitable[Any]], stale: Entry | None) -> Made:
        """Make the value and keep it. If that fails, give the lease up; a ``stale`` entry counts as fresh for a while."""
        self._entries.announce(lead.key, lead.options.lease_ms)
        started = self.clock.monotonic()
        try:
            with making() as work:
                value = await make()
        except Exception as error:
            await self.failed(lead, stale, error)
            raise
        except BaseException:
            self._entries.release_soon(lead.key, lead.token)
            raise
        made = Made(value, is_fit=work.is_fit)
        await self.keep(lead, made, self.clock.monotonic() - started)
        return made

    async def failed(self, lead: Lead, stale: Entry | None, error: Exception) -> None:
        """Give a lease up after an error of the one who makes the value."""
        self._emit("error", lead.options)
        if stale is None or not hides(error):
            self._entries.release_soon(lead.key, lead.token)
            return
        # Nobody else will tell: the callers get the stale value.
        log.warning("cache.refresh_failed", cache=lead.options.name, exc_info=error)
        try:
            await self._entries.throttle(lead.key, lead.token, milliseconds(lead.options.fail_safe))
        except StoreError:
            self._entries.release_soon(lead.key, lead.token)

    async def keep(self, lead: Lead, made: Made, seconds: float) -> None:
        """Store a value that took ``seconds`` to make, or give the lease up if it may not be stored. Raises nothing of the store's."""
        options = lead.options
        ttl_s, stale_s = (options.negative_ttl, 0.0) if made.value is None else (options.ttl, options.stale)
        payload = self._payload(lead, made) if ttl_s else None
        if payload is None:
            self._entries.release_soon(lead.key, lead.token)
            return
        put = self._entries.put(
            lead.key,
            payload,
            ttl_ms=milliseconds(ttl_s),
            stale_ms=milliseconds(stale_s),
            delta_ms=milliseconds(seconds),
            versions=lead.versions,
            jitter=options.jitter,
        )
        try:
            is_stored = await self._entries.store(put, token=lead.token)
        except StoreError:
            self._entries.release_soon(lead.key, lead.token)
            self._emit("bypass", options)
        else:
            self._emit("stored" if is_stored else "lost", options)

    def _payload(self, lead: Lead, made: Made) -> bytes | None:
        """The value's payload if it may be stored. Says why not."""
        if isinstance(made.value, Unkept) or not made.is_fit:
            self._emit("unkept", lead.options)
            return None
        try:
            made.payload = lead.codec.encode(made.value, lead.key)
        except TypeError:
            log.warning("cache.unstorable", cache=lead.options.name, type=type(made.value).__name__)
            self._emit("unstorable", lead.options)
            return None
        if len(made.payload) > lead.options.max_bytes:
            self._emit("too_large", lead.options)
            return None
        return made.payload


def hides(error: Exception) -> bool:
    """Whether a stale value may be shown instead of this error: not if it is an answer, such as 404 or 403.

    By attribute, because errors of web frameworks (``status_code``) are not known below ``core/http``. Timeouts and refusals for
    load (408, 425, 429) are no answers.
    """
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    return not (isinstance(status, int) and 400 <= status < 500 and status not in {408, 425, 429})
