"""Access tokens: signed JWTs (RFC 9068), and whose they are."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from app.core.context import Principal
from app.core.errors import ConfigurationError
from app.core.security._claims import MAX_LEEWAY_S, MAX_LIFETIME_S, ClaimRules
from app.core.security._compact import MAX_TOKEN_BYTES, CompactToken, read_compact
from app.core.security._errors import InvalidToken
from app.core.security._key_set import KeySet, KeySource
from app.core.security._keys import TokenKey
from app.core.security._scopes import format_scope
from app.core.security._signature import VerifyingKey
from app.core.security._verified import VerifiedTokens

TOKEN_TYPE = "at+jwt"  # noqa: S105 - a media type
_HEADER_FIELDS = {"alg", "kid", "typ"}


class Clock(Protocol):
    """Tells the time. ``app.core.resilience`` has the system's clock, and one that tests turn by hand."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new access token; ``expires_in`` is in seconds, ``claims`` is what was signed. Its repr hides it."""

    token: str = field(repr=False)
    expires_in: int
    claims: Mapping[str, Any]


class OtherIssuer(Protocol):
    """Somebody else whose tokens are accepted, under rules of their own; ``SupabaseTokens`` is one."""

    @property
    def issuer(self) -> str:
        """The ``iss`` of its tokens."""
        ...

    def remembered(self, key: bytes) -> Principal | None:
        """The principal of a token that it has verified, by ``VerifiedTokens.key``."""
        ...

    def verify(self, key: bytes, token: str, compact: CompactToken) -> Principal:
        """The caller whom a token of its ``iss`` proves. Raises ``InvalidToken``, and ``KeysNotLoaded``."""
        ...


class TokenService:
    """Issues access tokens of one issuer; verifies these, and those of ``others``.

    ``keys``: the first signs, all verify, each under its own ``kid``; or a source of keys that change while the
    process runs (``KeyFolder``). Tokens live ``ttl_s`` seconds (60 to 86400). ``leeway_s`` (0 to 30) forgives clocks for
    ``iat`` and ``nbf``, never for ``exp``. ``cache_size`` verified tokens are remembered until they expire;
    the caller must check revocation itself on every request, since a remembered token is not looked at again.
    A token is judged by the rules of the issuer that it names and of no other, and refused when that is none of these.
    Raises ``ConfigurationError`` for anything out of range, for no key, and for two keys or issuers of one name.
    """

    def __init__(
        self,
        keys: Sequence[TokenKey] | KeySource,
        *,
        issuer: str,
        audience: str,
        clock: Clock,
        ttl_s: int = 900,
        leeway_s: int = 5,
        cache_size: int = 10_000,
        others: Sequence[OtherIssuer] = (),
    ) -> None:
        _check_options(issuer, audience, ttl_s, leeway_s)
        self._source: KeySource = KeySet.fixed(keys) if isinstance(keys, Sequence) else keys
        self._keys = self._source.current()
        self._others = _by_name(issuer, others)
        self._rules = ClaimRules(issuer, audience, leeway_s)
        self._clock = clock
        self._ttl_s = ttl_s
        self._verified = VerifiedTokens(cache_size)

    def __repr__(self) -> str:
        return f"TokenService({self._rules!r}, kids={self._keys.kids})"

    def issue(
        self,
        subject: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        session_id: str | None = None,
        methods: Sequence[str] = ("pwd",),
        authenticated_at: float | None = None,
    ) -> IssuedToken:
        """Sign a token for ``subject`` (1 to 255 visible ASCII characters) that lives ``ttl_s`` seconds.

        ``session_id`` (default: a new one) survives refreshes; ``authenticated_at`` (seconds since the epoch,
        default: now) is when the person last proved who they are, ``methods`` is how (RFC 8176). ``iat`` is
        whole seconds, as other readers expect; ``iat_ms`` repeats it in milliseconds, so that a revocation
        can tell apart tokens of one second. Raises ``ValueError`` for values that ``verify`` would refuse.
        """
        now_ms = int(self._clock.time() * 1000)
        now = now_ms // 1000
        claims: dict[str, Any] = {
            "iss": self._rules.issuer,
            "aud": self._rules.audience,
            "sub": subject,
            "iat": now,
            "iat_ms": now_ms,
            "nbf": now,
            "exp": now + self._ttl_s,
            "jti": secrets.token_urlsafe(16),
            "sid": session_id if session_id is not None else secrets.token_urlsafe(16),
            "scope": format_scope(scopes),
            "roles": sorted(roles),
            "amr": list(methods),
            "auth_time": now if authenticated_at is None else int(authenticated_at),
        }
        return IssuedToken(self._sign(claims, now), self._ttl_s, MappingProxyType(claims))

    def verify(self, token: str) -> Principal:
        """The caller whom ``token`` (the text after ``Bearer``) proves. Raises ``InvalidToken`` for every
        other text, and nothing else; with ``others`` also ``KeysNotLoaded``, while their keys are not here.
        """
        try:
            key = self._verified.key(token)
        except UnicodeEncodeError as exc:
            raise InvalidToken("format") from exc
        self._refresh()
        principal = self._verified.get(key)
        if principal is None:
            principal = self._verify(key, token)
        elif principal.expires_at <= self._clock.time():
            self._verified.drop(key)
            raise InvalidToken("expired")
        return principal

    def published(self) -> list[dict[str, str]]:
        """The public keys that verify our tokens, as JWKs; none for secrets. For ``/.well-known/jwks.json``."""
        self._refresh()
        return self._keys.published(self._clock.time())

    def _refresh(self) -> None:
        keys = self._source.current()
        if keys is not self._keys:
            if keys.has_lost(self._keys):
                self._verified.clear()
            self._keys = keys

    def _sign(self, claims: dict[str, Any], now: int) -> str:
        try:
            self._rules.principal(claims, now)
        except InvalidToken as exc:
            raise ValueError(f"a token cannot carry this {exc.reason}") from exc
        self._refresh()
        token = self._keys.signer(now).sign(claims, {"typ": TOKEN_TYPE})
        if len(token) > MAX_TOKEN_BYTES:
            raise ValueError(f"the token would be longer than {MAX_TOKEN_BYTES} bytes")
        return token

    def _verify(self, key: bytes, token: str) -> Principal:
        for other in self._others.values():
            if (known := other.remembered(key)) is not None:
                return known
        compact = read_compact(token)
        issuer = compact.claims.get("iss")
        if isinstance(issuer, str) and issuer in self._others:
            return self._others[issuer].verify(key, token, compact)
        now = self._clock.time()
        self._key(compact.header, now).check(token)
        principal = self._rules.principal(compact.claims, now)
        self._verified.put(key, principal)
        return principal

    def _key(self, header: Mapping[str, Any], now: float) -> VerifyingKey:
        """Which of our keys must have signed; every field of the header is either exactly right or the token
        is refused.

        Fields beyond these three (``crit``, ``jku``, ``jwk``, ``x5u``, ``x5c``, ``zip`` and all that we do
        not issue) ask the reader to trust or to do something that we never do.
        """
        if not header.keys() <= _HEADER_FIELDS:
            raise InvalidToken("header")
        kid, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._keys.algorithms:
            raise InvalidToken("alg")
        if header.get("typ") != TOKEN_TYPE:
            raise InvalidToken("typ")
        key = self._keys.verifier(kid, now) if isinstance(kid, str) else None
        if key is None:
            raise InvalidToken("kid")
        if algorithm != key.algorithm:
            raise InvalidToken("alg")
        return key


def _by_name(issuer: str, others: Sequence[OtherIssuer]) -> dict[str, OtherIssuer]:
    named = {other.issuer: other for other in others}
    if len(named) != len(others) or issuer in named:
        raise ConfigurationError("Two issuers of tokens have the same name.")
    return named


def _check_options(issuer: str, audience: str, ttl_s: int, leeway_s: int) -> None:
    if not issuer or not audience:
        raise ConfigurationError("Tokens need an issuer and an audience.")
    if not 60 <= ttl_s <= MAX_LIFETIME_S:
        raise ConfigurationError(f"An access token lives 60 to {MAX_LIFETIME_S} seconds.")
    if not 0 <= leeway_s <= MAX_LEEWAY_S:
        raise ConfigurationError(f"The leeway of clocks is 0 to {MAX_LEEWAY_S} seconds.")
