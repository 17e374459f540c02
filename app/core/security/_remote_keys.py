"""The keys of another issuer, kept in the process and fetched when they are due: never while a verification waits on the network."""

import asyncio
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Protocol

import structlog

from app.core.errors import Unavailable
from app.core.observability import EventHub, KeysEvent
from app.core.security._errors import InvalidToken, KeysNotLoaded
from app.core.security._jwk_set import KeysNotRead, parse_jwk_set
from app.core.security._keys import TokenKey
from app.core.security._signature import VerifyingKey

TTL_S = 600.0
STALE_S = 86_400.0
COOL_DOWN_S = 60.0
RETRY_S = 5.0
MAX_WAITING = 256

_log = structlog.get_logger(__name__)


class MonotonicClock(Protocol):
    """Measures durations. ``app.core.resilience`` has the system's clock, and one that tests turn by hand."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class RemoteKeys:
    """The verifying keys of one issuer by ``kid``.

    Keys older than ``TTL_S`` seconds (600) are fetched anew in the background and used meanwhile, for ``STALE_S`` (a day) if they cannot be
    had. An unknown ``kid`` is a reason to fetch too, once in ``COOL_DOWN_S`` (60); a failed fetch is tried again after ``RETRY_S`` (5).
    There is one fetch at a time, and at most ``MAX_WAITING`` callers wait for it. ``forget`` is called when a key is gone or changed:
    whatever it has verified no longer holds. Belongs to one event loop; ``aclose`` at the end.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        issuer: str,
        clock: MonotonicClock,
        hub: EventHub,
        forget: Callable[[], None],
    ) -> None:
        self._fetch = fetch
        self._issuer = issuer
        self._clock = clock
        self._hub = hub
        self._forget = forget
        self._sources: dict[str, TokenKey] = {}
        self._keys: dict[str, VerifyingKey] = {}
        self._fetched_at: float | None = None
        self._has_failed = False
        self._next_at = clock.monotonic()
        self._flight: asyncio.Task[None] | None = None
        self._waiting = 0
        self._is_closed = False

    def get(self, kid: str) -> VerifyingKey:
        """The key of this id. No I/O.

        Raises ``InvalidToken`` (``kid``) when there is none as far as the issuer said a moment ago, and ``KeysNotLoaded`` when that cannot
        be known yet: await its ``load`` and ask once more.
        """
        self.freshen()
        key = self._keys.get(kid)
        if key is not None:
            return key
        left = self._next_at - self._clock.monotonic()
        if self._fetched_at is None or self._has_failed or self._flight is not None or left <= 0:
            raise KeysNotLoaded(self.load, retry_after=max(1, ceil(left)))
        raise InvalidToken("kid")

    def freshen(self) -> None:
        """Begin to fetch when the keys are old; drop them when they are too old. Does not wait."""
        if self._fetched_at is None:
            return
        age = self._clock.monotonic() - self._fetched_at
        if age >= STALE_S:
            self._fetched_at = None
            self._put({})
        elif age >= TTL_S:
            self._begin()

    async def load(self) -> None:
        """Wait for the fetch that runs, or for a new one if one is due; return at once otherwise. Whether it helped, ``get`` tells.

        Raises ``Unavailable`` when too many wait already.
        """
        self._begin()
        if self._flight is None:
            return
        if self._waiting >= MAX_WAITING:
            raise Unavailable("The keys of this token's issuer are being fetched.")
        self._waiting += 1
        try:
            await asyncio.wait({self._flight})  # cancelled with one caller, it would end for all
        finally:
            self._waiting -= 1

    async def aclose(self) -> None:
        """Cancel the fetch that runs, and begin no more."""
        self._is_closed = True
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait({self._flight})

    def _begin(self) -> None:
        if self._flight is not None or self._is_closed or self._clock.monotonic() < self._next_at:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # in a thread, as plain functions run: the next one in the loop begins
        self._flight = loop.create_task(self._refresh())
        self._flight.add_done_callback(self._landed)

    def _landed(self, _: "asyncio.Task[None]") -> None:
        self._flight = None

    async def _refresh(self) -> None:
        try:
            sources = parse_jwk_set(await self._fetch())
            self._put(sources)
        except KeysNotRead as error:
            self._fail(error.reason)
        except Exception:  # noqa: BLE001 - the outermost frame of this task: what waits for it must get an answer
            _log.exception("tokens.keys_unexpected", issuer=self._issuer)
            self._fail("unexpected")
        else:
            self._fetched_at = self._clock.monotonic()
            self._next_at = self._fetched_at + COOL_DOWN_S
            self._has_failed = False
            self._hub.emit(KeysEvent("fetched"))

    def _put(self, sources: dict[str, TokenKey]) -> None:
        former = self._sources
        keys = {
            kid: self._keys[kid] if former.get(kid) == source else VerifyingKey(source)
            for kid, source in sources.items()
        }
        self._sources, self._keys = sources, keys
        if any(sources.get(kid) != source for kid, source in former.items()):
            self._forget()

    def _fail(self, reason: str) -> None:
        self._has_failed = True
        self._next_at = self._clock.monotonic() + RETRY_S
        self._hub.emit(KeysEvent("failed"))
        _log.warning("tokens.keys_not_fetched", issuer=self._issuer, reason=reason, known=len(self._keys))
