"""One endpoint's response cache: which requests share an answer, what a hit looks like, what is stored."""

import random
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.responses import Response

from app.core.http._answer import (
    NEVER_KEPT,
    Answer,
    Headers,
    body_of,
    conditional,
    etag_of,
    pack,
    unpack,
    values_of,
)
from app.core.http._answer_names import digest_of, known_digest, rights_of
from app.core.http._kept import Kept, read_short
from app.core.http._local_flights import LocalFlights, LocalLead
from app.core.http._tags import filled
from app.core.policies import Caller, Lookup, ResponseCache, tenant_partition, user_partition
from app.core.security import SealBroken, Sealer
from app.core.valkey import Cache, Entry, Put, is_due, tag_key

_STORABLE = frozenset({200, 203, 204, 301, 404, 410})
_NEGATIVE = frozenset({404, 410})
_TELLING = frozenset({b"cache-control", b"etag", b"set-cookie", b"vary"})
"""Headers by which a response says whether it may be stored, and for whom; most have none of them."""
_THROTTLE_MS = 30_000
_SHORT = 8192
_SEEN = 4096
_SHORT_PARTS = 1024
Scope = Mapping[str, Any]


class Sought(NamedTuple):
    """An answer that was looked for: its key in the store and the tags it depends on.

    ``lead``: it is computed for callers of this process, because the store is away. ``is_anew``: nothing that is kept may be given.
    """

    key: str
    tags: tuple[str, ...]
    lead: LocalLead | None = None
    is_anew: bool = False


class _Life(NamedTuple):
    """How long answers of one kind are kept, and the header that says so."""

    ttl_ms: int
    stale_ms: int
    control: tuple[bytes, bytes]


class CachedAnswers:
    """Keys, hits and storing for one endpoint. ``now_ms`` is the store's clock, ``lease_s`` how long a computation may take."""

    def __init__(
        self,
        policy: str,
        config: ResponseCache,
        *,
        cache: Cache,
        sealer: Sealer | None,
        lease_s: float,
        now_ms: Callable[[], int],
    ) -> None:
        self.config = config
        self.cache = cache
        self.local = LocalFlights(most=config.outage_max)
        self._policy = policy
        self._sealer = sealer
        self._lease_ms = int(lease_s * 1000)
        self._now_ms = now_ms
        self._vary = tuple(sorted(name.lower().encode() for name in config.vary))
        self._fresh_until: dict[str, int] = {}
        self._who = b"public" if config.scope == "public" else b"private"
        self._vary_field = (b"vary", b", ".join((b"Authorization", b"X-API-Key", *self._vary)))
        self._found = self._life(config.ttl, config.stale)
        self._missing = self._life(config.negative_ttl, 0)

    def _life(self, ttl_s: float, stale_s: float) -> _Life:
        return _Life(int(ttl_s * 1000), int(stale_s * 1000), self._cache_control(int(ttl_s)))

    def seek(self, scope: Scope, caller: Caller) -> Sought | None:
        """What this request would be answered with; None when it is not a GET or HEAD."""
        if scope["method"] not in ("GET", "HEAD"):
            return None
        return Sought(
            self._key(scope, caller), self._tags(scope, caller), is_anew=self._is_anew(scope, caller)
        )

    def _is_anew(self, scope: Scope, caller: Caller) -> bool:
        """Whether he asks for it (RFC 9111 section 5.2.1.4) and may."""
        principal, roles = caller.principal, self.config.refresh_roles
        if not roles or principal is None or principal.roles.isdisjoint(roles):
            return False
        control = b",".join(values_of(scope["headers"], b"cache-control")).lower()
        return b"no-cache" in {directive.strip() for directive in control.split(b",")}

    def lookup(self, sought: Sought, *, must_compute: bool = False) -> Lookup:
        """The same as a question to ADMIT."""
        tags = tuple([tag_key(tag) for tag in sought.tags]) if sought.tags else ()
        return Lookup(sought.key, tags, self._lease_ms, must_compute, self.config.hit_cost)

    def glance(self, sought: Sought) -> Lookup | None:
        """A question for nothing but the answer itself, where a fresh one was seen; None where all is better asked at once."""
        if sought.is_anew or not self.expects_fresh(sought):
            return None
        tags = tuple([tag_key(tag) for tag in sought.tags]) if sought.tags else ()
        return Lookup(sought.key, tags, 0, hit_cost=self.config.hit_cost)

    def expects_fresh(self, sought: Sought) -> bool:
        """Whether a fresh one was seen that has not ended yet."""
        until = self._fresh_until.get(sought.key)
        return until is not None and until > self._now_ms()

    @property
    def is_plain(self) -> bool:
        """Whether method, path, query and caller say all that key and tags depend on."""
        return not (self._vary or self.config.refresh_roles)

    def saw(self, key: str, fresh_until_ms: int | None) -> None:
        """Remember until when a stored answer is fresh; None: it is not there any more. No answer is remembered, and none given by this."""
        if fresh_until_ms is None:
            self._fresh_until.pop(key, None)
            return
        if len(self._fresh_until) >= _SEEN:
            self._fresh_until.clear()
        self._fresh_until[key] = fresh_until_ms

    def _key(self, scope: Scope, caller: Caller) -> str:
        # Callers of other rights never share an answer, whatever the scope: a role taken away changes the key.
        rights = rights_of(scope, caller) if self.config.scope != "public" else ""
        varying = (
            repr([(name, values_of(scope["headers"], name)) for name in self._vary]) if self._vary else ""
        )
        query = self._query(scope["query_string"]) if scope["query_string"] else ""
        parts = scope["method"], scope["path"], repr(query), varying, rights
        # Only what is short is remembered: a caller writes it.
        digest = known_digest(*parts) if sum(map(len, parts)) <= _SHORT_PARTS else digest_of(*parts)
        return f"{{{self._partition(caller, digest)}}}:v1:e:{self._policy}:{digest}"

    def _query(self, text: bytes) -> list[tuple[str, str]] | str:
        query = parse_qsl(text.decode("latin-1"), keep_blank_values=True)
        if self.config.query is not None:
            query = [pair for pair in query if pair[0] in self.config.query]
        # The order of equal names stays: a handler that takes one value takes the last, one that takes a list takes them in order.
        return sorted(query, key=itemgetter(0)) or ""

    def _partition(self, caller: Caller, digest: str) -> str:
        if self.config.scope == "public":
            return f"e:{digest}"  # a slot of its own: one slot for all would be hot
        return user_partition(caller) if self.config.scope == "user" else tenant_partition(caller)

    def _tags(self, scope: Scope, caller: Caller) -> tuple[str, ...]:
        return filled(self.config.tags, scope, caller) if self.config.tags else ()

    def read(self, stored: bytes, key: str) -> Kept | None:
        """What ADMIT found; None when it cannot be read."""
        if self._sealer is None and len(stored) <= _SHORT:
            return read_short(stored)
        try:
            entry = Entry.parse(stored)
        except ValueError:
            return None
        return self.open(entry, key)

    def open(self, entry: Entry, key: str) -> Kept | None:
        """The stored answer; None when it cannot be read (a key of encryption is gone): it is then as good as missing."""
        payload = entry.payload
        try:
            answer = unpack(self._sealer.open(payload, key.encode()) if self._sealer is not None else payload)
        except (SealBroken, ValueError):
            return None
        return Kept(entry, answer) if answer.body is not None else None

    def hit(self, kept: "Kept", scope: Scope, status: bytes = b"hit") -> Answer:
        """A stored answer, ready to go out: with its age, or 304 for a caller who has it already."""
        entry, now = kept.entry, self._now_ms()
        age_s, left_s = max((now - entry.created) // 1000, 0), (entry.fresh - now) // 1000
        # Equal bytes of two endpoints are one object: what they say of it may differ.
        about = self._who, status, age_s, left_s
        if kept.about != about:
            kept.about, kept.ready = about, self._aged(kept.answer, status, age_s, left_s)
        return conditional(kept.ready, scope["headers"])

    def _aged(self, answer: Answer, status: bytes, age_s: int, left_s: int) -> Answer:
        headers = [
            *answer.headers,
            (b"age", b"%d" % age_s),
            (b"cache-status", b"gatehouse; %s; ttl=%d" % (status, left_s)),
        ]
        if answer.header(b"cache-control") is None:
            headers.append(self._cache_control(max(left_s, 0)))
        return Answer(answer.status, headers, answer.body)

    def _cache_control(self, seconds: int) -> tuple[bytes, bytes]:
        return (b"cache-control", b"%s, max-age=%d" % (self._who, seconds))

    def is_due(self, entry: Entry) -> bool:
        """Whether to refresh it ahead of its end."""
        return self.config.eager and is_due(entry, self._now_ms(), random.random)

    def keepable(self, response: Response) -> Answer | None:
        """What of this response may be stored; None when it may not. The response gets the validators that are stored with it."""
        status, body, headers = response.status_code, body_of(response), response.raw_headers
        told = {name for name, _ in headers if name in _TELLING}
        if (
            status not in _STORABLE
            or body is None
            or len(body) > self.config.max_body
            or (status in _NEGATIVE and not self.config.negative_ttl)
            or (told and self._is_forbidden(told, response))
        ):
            return None
        if b"etag" not in told:
            headers.append((b"etag", etag_of(body)))
        if b"vary" not in told:
            headers.append(self._vary_field)
        return Answer(status, [header for header in headers if header[0] not in NEVER_KEPT], body)

    def _is_forbidden(self, told: set[bytes], response: Response) -> bool:
        """Whether the response says that it must not be stored, or not for all that would get it."""
        control = b",".join(values_of(response.raw_headers, b"cache-control")).lower()
        return (
            b"set-cookie" in told
            or b"no-store" in control
            or (self.config.scope == "public" and b"private" in control)
            or (b"vary" in told and self._varies(response))
        )

    def _varies(self, response: Response) -> bool:
        """Whether the answer says of itself that it depends on what the key does not hold (RFC 9111 section 4.1)."""
        said = b",".join(values_of(response.raw_headers, b"vary")).lower()
        known = {b"", *self._vary, *((b"authorization", b"x-api-key") if self.config.scope == "user" else ())}
        return not {name.strip() for name in said.split(b",")} <= known

    def fresh(self, response: Response, answer: Answer, scope: Scope, sought: Sought) -> Response:
        """The response for the caller who had it computed."""
        status = b"fwd=miss; stored" if sought.lead is None else b"fwd=miss; detail=store_down"
        if values_of(scope["headers"], b"if-none-match"):
            return self._new(answer, scope, status).response()
        response.raw_headers += self._about(answer, status)
        return response

    def collapsed(self, answer: Answer, scope: Scope) -> Answer:
        """The same for a caller of this process who waited for it while the store is away."""
        return self._new(answer, scope, b"fwd=miss; collapsed; detail=store_down")

    def _new(self, answer: Answer, scope: Scope, status: bytes) -> Answer:
        return conditional(answer.with_headers(*self._about(answer, status)), scope["headers"])

    def _about(self, answer: Answer, status: bytes) -> Headers:
        """What a new answer says of itself."""
        headers = [(b"cache-status", b"gatehouse; " + status)]
        if answer.header(b"cache-control") is None:
            headers.append(self._life_of(answer).control)
        return headers

    def _life_of(self, answer: Answer) -> _Life:
        return self._missing if answer.status in _NEGATIVE else self._found

    def announce(self, sought: Sought) -> None:
        """This process computes it: its own followers are told when it is there."""
        if sought.lead is not None:
            return
        self.cache.announce(sought.key, self._lease_ms)

    def entry(self, sought: Sought, answer: Answer, *, versions: str, took_s: float) -> Put | None:
        """The answer as SETTLE stores it, if the lease is still ours; None while there is no store."""
        if sought.lead is not None:
            return None
        blob = pack(answer)
        if self._sealer is not None:
            blob = self._sealer.seal(blob, sought.key.encode())
        ttl_ms, stale_ms, _ = self._life_of(answer)
        return self.cache.put(
            sought.key, blob, ttl_ms=ttl_ms, stale_ms=stale_ms, delta_ms=int(took_s * 1000), versions=versions
        )

    def end(self, sought: Sought, answer: Answer | None) -> None:
        """The computation is over, the store knows already: those who wait in this process get the answer, or look for themselves."""
        if sought.lead is not None:
            sought.lead.land(answer)
        else:
            self.cache.told(sought.key)

    async def throttle(self, sought: Sought, token: str) -> None:
        """Computing failed: let the stale answer count as fresh for half a minute, so that not everybody tries."""
        await self.cache.throttle(sought.key, token, _THROTTLE_MS)
