"""API keys as gates see them: what the database said of a key a moment ago, kept in the process."""

import asyncio
from contextvars import Context
from dataclasses import dataclass, field
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NoReturn, Protocol
from uuid import UUID

from app.core.context import Principal
from app.core.errors import Unavailable
from app.core.security._api_key_text import api_key_hash, api_key_name, name_in, read_api_key
from app.core.security._errors import ApiKeyNotLoaded, InvalidApiKey

API_KEY_TTL_S = 30.0
_NOTE_EVERY_S = 60.0
_MOST_LOADS, _LOADS_AT_ONCE = 64, 4


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """A secret that is good now, and whom it proves.

    ``principal``: his ``session_id`` is the secret's id, by which ADMIT knows that it has ended; ``issued_at`` is the owner's
    ``tokens_since`` as it stood when this was read, so that ADMIT says when anything about the owner has changed since; ``expires_at`` is
    the key's end or the secret's, whichever comes first. ``networks``: from where it may be used; empty: from anywhere.
    """

    hash: bytes = field(repr=False)
    principal: Principal
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


class ApiKeyStore(Protocol):
    """Where API keys are kept."""

    async def find(self, secret_id: UUID) -> ApiKeyRecord | None:
        """The secret with this id, None when it is not good: unknown, revoked, replaced, its owner gone. Raises Unavailable."""

    def used(self, principal: Principal) -> None:
        """The key was presented and believed; called at most once a minute for each. No I/O."""


class Clock(Protocol):
    """``app.core.resilience`` has the system's clock, and one that tests turn by hand."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class _Known:
    __slots__ = ("note_at", "record", "until")

    def __init__(self, record: ApiKeyRecord, until: float, note_at: float) -> None:
        self.record = record
        self.until = until
        self.note_at = note_at


class ApiKeys:
    """Verifies API keys in the process; what it does not know it has looked up, once in ``API_KEY_TTL_S`` (30 seconds) for each secret.

    That age bounds how old expiry, scopes and networks may be when nobody said that they changed; revocation does not wait for it,
    because ADMIT looks at the owner's epoch on every request. A wrong secret of a known id is refused here, without I/O; an id that nobody
    has is remembered too. Each of both sorts is remembered at most ``size`` times, the oldest are forgotten first. At most 64 secrets are
    looked up at once, 4 of them in the database: junk must not crowd out what else the database does. Belongs to one event loop.
    """

    def __init__(self, store: ApiKeyStore, clock: Clock, *, size: int = 10_000) -> None:
        self._store = store
        self._clock = clock
        self._size = size
        self._known: dict[str, _Known] = {}
        self._unknown: dict[str, float] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(_LOADS_AT_ONCE)

    def verify(self, text: str, address: str | None) -> Principal:
        """Whom ``text`` proves when it comes from ``address``. No I/O.

        Raises ``InvalidApiKey`` for everything that is no good key here and now, always in the same words: who tries a key elsewhere must
        not learn that it is one. ``reason`` tells the logs. Raises ``ApiKeyNotLoaded`` for one that has to be looked up: await its
        ``load``, and ask once more.
        """
        name, now = name_in(text), self._clock.monotonic()
        known = self._known.get(name)
        if known is None or known.until <= now:
            self._ask_for(text, name, now)
        record = known.record
        if not compare_digest(record.hash, api_key_hash(text)):
            raise InvalidApiKey("secret")
        principal = record.principal
        if principal.expires_at <= self._clock.time():
            raise InvalidApiKey("key_expired")
        if record.networks and not _is_inside(address, record.networks):
            raise InvalidApiKey("network")
        if known.note_at <= now:
            known.note_at = now + _NOTE_EVERY_S
            self._store.used(principal)
        return principal

    def forget(self, principal: Principal) -> None:
        """Look the key up again: something about it or its owner has changed."""
        if principal.session_id is not None:
            self._known.pop(api_key_name(UUID(principal.session_id)), None)

    def _ask_for(self, text: str, name: str, now: float) -> NoReturn:
        secret_id = read_api_key(text).secret_id
        if self._unknown.get(name, now) > now:
            raise InvalidApiKey("key_unknown")
        raise ApiKeyNotLoaded(lambda: self._load(secret_id, name))

    async def _load(self, secret_id: UUID, name: str) -> None:
        task = self._loading.get(name)
        if task is None:
            if len(self._loading) >= _MOST_LOADS:
                raise Unavailable("Too many API keys are being looked up.", retry_after=1)
            # Not in the context of the request that happens to be the first, and not cancelled with it.
            loop = asyncio.get_running_loop()
            task = self._loading[name] = loop.create_task(self._look_up(secret_id, name), context=Context())
            task.add_done_callback(lambda done: self._landed(name, done))
        await asyncio.shield(task)

    def _landed(self, name: str, task: "asyncio.Task[None]") -> None:
        del self._loading[name]
        if not task.cancelled():
            task.exception()  # whoever waits raises it; nobody may be left to

    async def _look_up(self, secret_id: UUID, name: str) -> None:
        async with self._turns:
            asked_at = self._clock.monotonic()
            record = await self._store.find(secret_id)
        former = self._known.pop(name, None)
        self._unknown.pop(name, None)
        until = asked_at + API_KEY_TTL_S
        if record is None:
            _bound(self._unknown, self._size)
            self._unknown[name] = until
        else:
            _bound(self._known, self._size)
            self._known[name] = _Known(record, until, former.note_at if former is not None else asked_at)


def _bound(kept: dict[str, _Known] | dict[str, float], size: int) -> None:
    if len(kept) >= size:
        del kept[next(iter(kept))]


def _is_inside(address: str | None, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return False
    return any(parsed in network for network in networks if network.version == parsed.version)
