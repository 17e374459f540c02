"""Verifies the access tokens of one OpenID Connect issuer by its published keys."""

from collections.abc import Mapping
from typing import Any, Protocol

from app.core.context import Principal
from app.core.observability import EventHub
from app.core.security._compact import CompactToken
from app.core.security._errors import InvalidToken
from app.core.security._oidc_claims import OidcRules
from app.core.security._oidc_issuer import OidcIssuer
from app.core.security._oidc_keys import OidcKeys
from app.core.security._remote_keys import RemoteKeys
from app.core.security._verified import VerifiedTokens

# The thumbprints name a certificate that we do not look at; what brings a key or asks for something is not taken.
_HEADER_FIELDS = {"alg", "kid", "typ", "x5t", "x5t#S256"}


class _Clock(Protocol):
    def time(self) -> float: ...
    def monotonic(self) -> float: ...


class OidcTokens:
    """The access tokens whose ``iss`` is ``options.issuer``; hand it to ``TokenService`` among ``others``.

    Keys are fetched when the first token needs them, and kept as ``RemoteKeys`` says: each issuer has its own, so that an equal ``kid`` of
    two means nothing. ``cache_size`` verified tokens are remembered until they expire or a key goes. ID tokens are refused, and tokens
    that are bound to a key (``cnf``). The bearer is ``oidc_user_id(iss, sub)``, and has no rights but those that ``options`` map.
    """

    def __init__(
        self,
        options: OidcIssuer,
        *,
        clock: _Clock,
        hub: EventHub,
        leeway_s: int = 5,
        cache_size: int = 10_000,
    ) -> None:
        self.issuer = options.issuer
        self._algorithms = options.algorithms
        self._rules = OidcRules(options, leeway_s)
        self._clock = clock
        self._verified = VerifiedTokens(cache_size)
        self._endpoint = OidcKeys(options)
        self._keys = RemoteKeys(
            self._endpoint.fetch, issuer=self.issuer, clock=clock, hub=hub, forget=self._verified.clear
        )

    def __repr__(self) -> str:
        return f"OidcTokens({self.issuer!r})"

    def remembered(self, key: bytes) -> Principal | None:
        """The principal of a token that was verified before, by ``VerifiedTokens.key``. Raises ``InvalidToken`` when it has expired."""
        self._keys.freshen()
        return self._verified.live(key, self._clock.time())

    def verify(self, key: bytes, token: str, compact: CompactToken) -> Principal:
        """The caller whom ``token``, taken apart as ``compact``, proves; remembered as ``key``.

        Raises ``InvalidToken``, and ``KeysNotLoaded`` when it depends on keys that are not here. The claims are judged first, so that
        nobody makes us fetch keys for a token that would be refused with any.
        """
        algorithm, kid = self._named(compact.header)
        principal = self._rules.principal(compact.header, compact.claims, self._clock.time())
        found = self._keys.get(kid)
        if found.algorithm != algorithm:
            raise InvalidToken("alg")
        found.check(token)
        self._verified.put(key, principal)
        return principal

    async def aclose(self) -> None:
        """End a fetch that runs, and close the clients."""
        await self._keys.aclose()
        await self._endpoint.aclose()

    def _named(self, header: Mapping[str, Any]) -> tuple[str, str]:
        if not header.keys() <= _HEADER_FIELDS:
            raise InvalidToken("header")
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise InvalidToken("alg")
        if not isinstance(kid, str):
            raise InvalidToken("kid")
        return algorithm, kid
