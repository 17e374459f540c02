"""Verifies the access tokens of one Supabase project, by its published keys or, for a legacy project, by the shared secret."""

from collections.abc import Mapping
from typing import Any, Protocol

from app.core.context import Principal
from app.core.observability import EventHub
from app.core.security._compact import CompactToken
from app.core.security._errors import InvalidToken
from app.core.security._jwks_endpoint import JwksEndpoint
from app.core.security._keys import TokenKey
from app.core.security._remote_keys import RemoteKeys
from app.core.security._signature import VerifyingKey
from app.core.security._supabase_claims import SupabaseRules
from app.core.security._verified import VerifiedTokens

_HEADER_FIELDS = {"alg", "kid", "typ"}
_ALGORITHMS = frozenset({"HS256", "ES256", "RS256"})


class _Clock(Protocol):
    def time(self) -> float: ...
    def monotonic(self) -> float: ...


class SupabaseTokens:
    """The tokens whose ``iss`` is ``<url>/auth/v1``; hand it to ``TokenService`` among ``others``.

    ``url`` is the project's, as ``https://<ref>.supabase.co`` without a path: its keys are read from ``/auth/v1/.well-known/jwks.json``
    when the first token needs them (see ``RemoteKeys``). ``secret`` is the legacy HS256 secret of 32 bytes or more; without one, HS256 is
    refused. ``cache_size`` verified tokens are remembered until they expire or a key goes. Raises ``ConfigurationError`` for a short
    secret, and for a public key in its place. Not for the API keys ``sb_...`` (no JWTs) nor ``anon`` and ``service_role`` keys (no users).
    """

    def __init__(
        self,
        url: str,
        *,
        clock: _Clock,
        hub: EventHub,
        secret: str | None = None,
        leeway_s: int = 5,
        cache_size: int = 10_000,
    ) -> None:
        self.issuer = f"{url}/auth/v1"
        self._rules = SupabaseRules(self.issuer, leeway_s)
        self._clock = clock
        self._secret = (
            VerifyingKey(TokenKey("legacy", "HS256", secret.encode())) if secret is not None else None
        )
        self._verified = VerifiedTokens(cache_size)
        self._endpoint = JwksEndpoint(f"{self.issuer}/.well-known/jwks.json")
        self._keys = RemoteKeys(
            self._endpoint.fetch, issuer=self.issuer, clock=clock, hub=hub, forget=self._verified.clear
        )

    def __repr__(self) -> str:
        return f"SupabaseTokens({self.issuer!r})"

    def remembered(self, key: bytes) -> Principal | None:
        """The principal of a token that was verified before, by ``VerifiedTokens.key``. Raises ``InvalidToken`` when it has expired."""
        self._keys.freshen()
        return self._verified.live(key, self._clock.time())

    def verify(self, key: bytes, token: str, compact: CompactToken) -> Principal:
        """The user whom ``token``, taken apart as ``compact``, proves; remembered as ``key``.

        Raises ``InvalidToken``, and ``KeysNotLoaded`` when it depends on keys that are not here. The claims are judged first, so that
        nobody makes us fetch keys for a token that would be refused with any.
        """
        algorithm = _algorithm(compact.header)
        principal = self._rules.principal(compact.claims, self._clock.time())
        self._key(algorithm, compact.header).check(token)
        self._verified.put(key, principal)
        return principal

    async def aclose(self) -> None:
        """End a fetch that runs, and close the client."""
        await self._keys.aclose()
        await self._endpoint.aclose()

    def _key(self, algorithm: str, header: Mapping[str, Any]) -> VerifyingKey:
        """The key's kind must fit the algorithm, so a public key is never taken for a secret."""
        if algorithm == "HS256":
            if self._secret is None:
                raise InvalidToken("alg")
            return self._secret  # legacy projects name it by ids that are published nowhere
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise InvalidToken("kid")
        key = self._keys.get(kid)
        if key.algorithm != algorithm:
            raise InvalidToken("alg")
        return key


def _algorithm(header: Mapping[str, Any]) -> str:
    if not header.keys() <= _HEADER_FIELDS:
        raise InvalidToken("header")
    if header.get("typ", "JWT") != "JWT":
        raise InvalidToken("typ")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise InvalidToken("alg")
    return algorithm
