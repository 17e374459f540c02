"""What the claims of another issuer's access token must say before they become a principal, and what of them counts.

Sources: RFC 9068 (access tokens as JWTs), RFC 8725 (best practices), https://openid.net/specs/openid-connect-core-1_0.html (ID tokens).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.context import Principal
from app.core.security._claims import check_addressee, check_foreign_times, identifier
from app.core.security._errors import InvalidToken
from app.core.security._oidc_issuer import NameMapping, OidcIssuer, oidc_user_id
from app.core.security._scopes import known_roles, known_scopes

# Only ID tokens carry these. `cnf` binds a token to a key that its bearer has to prove, which nobody asks here.
_NEVER = ("nonce", "at_hash", "c_hash", "s_hash", "cnf")
# One of these stands in an access token of every issuer that we know, and in no ID token.
_OF_ACCESS = ("scope", "scp", "client_id")
_ACCESS_TYPES = frozenset({"at+jwt", "application/at+jwt"})


@dataclass(frozen=True, slots=True)
class OidcRules:
    """The rules of one issuer; ``leeway_s`` is for ``iat`` and ``nbf``, in seconds."""

    of: OidcIssuer
    leeway_s: int = 5

    def principal(self, header: Mapping[str, Any], claims: Mapping[str, Any], now: float) -> Principal:
        """The caller whom the claims describe at ``now`` (seconds since the epoch). Raises ``InvalidToken`` with the claim at fault."""
        is_plain = self._is_plain(header)
        check_addressee(claims, self.of.issuer, self.of.audience)
        issued_at, expires_at = check_foreign_times(claims, now, self.leeway_s)
        self._check_kind(claims, is_plain=is_plain)
        return Principal(
            id=str(oidc_user_id(self.of.issuer, identifier(claims, "sub"))),
            token_id=_optional(claims, "jti"),
            session_id=_optional(claims, "sid"),
            scopes=_mapped(claims, self.of.scopes, known_scopes),
            roles=_mapped(claims, self.of.roles, known_roles),
            methods=self._methods(claims),
            issued_at=float(issued_at),
            expires_at=float(expires_at),
            authenticated_at=self._authenticated_at(claims, issued_at),
        )

    def _is_plain(self, header: Mapping[str, Any]) -> bool:
        """Whether the header does not say that this is an access token."""
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str):
            raise InvalidToken("typ")
        if kind.lower() in _ACCESS_TYPES:
            return False
        if kind.upper() != "JWT" or not self.of.plain_jwt:
            raise InvalidToken("typ")
        return True

    def _check_kind(self, claims: Mapping[str, Any], *, is_plain: bool) -> None:
        """No ID token, no refresh token, no token that is bound to a key."""
        for name in _NEVER:
            if name in claims:
                raise InvalidToken(name)
        # An ID token is for whom it was issued to; an access token is for an API, which is another one.
        if claims.get("azp") == self.of.audience:
            raise InvalidToken("azp")
        if claims.get("typ", "Bearer") != "Bearer":
            raise InvalidToken("typ")  # Keycloak's: ID, Refresh, Offline
        if claims.get("token_use", "access") != "access":
            raise InvalidToken("token_use")  # Cognito's: id
        if is_plain and not any(name in claims for name in _OF_ACCESS):
            raise InvalidToken("scope")

    def _methods(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        value = claims.get("amr") if self.of.trust_authentication else None
        return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()

    def _authenticated_at(self, claims: Mapping[str, Any], issued_at: int) -> float:
        """When the person last proved who he is; 0 (long ago) where that is not told, or not believed."""
        at = claims.get("auth_time") if self.of.trust_authentication else None
        return float(at) if type(at) is int and 0 < at <= issued_at else 0.0


def _optional(claims: Mapping[str, Any], name: str) -> str | None:
    return identifier(claims, name) if claims.get(name) is not None else None


def _mapped(claims: Mapping[str, Any], mapping: NameMapping, known: Mapping[str, str]) -> frozenset[str]:
    if not mapping.claim:
        return frozenset()
    value: Any = claims
    for name in mapping.claim:
        value = value.get(name) if isinstance(value, Mapping) else None
    words = value.split(" ") if isinstance(value, str) else value if isinstance(value, list) else []
    cut = [
        one.removeprefix(mapping.prefix)
        for one in words
        if isinstance(one, str) and one.startswith(mapping.prefix)
    ]
    return frozenset(mapping.names[one] for one in cut if one in mapping.names) & known.keys()
