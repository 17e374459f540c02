"""What the claims of a Supabase project's token must say before they become a principal, and what of them counts.

Source: https://supabase.com/docs/guides/auth/jwt-fields and https://supabase.com/docs/guides/auth/oauth-server/token-security
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.core.context import Principal
from app.core.security._claims import check_addressee, check_foreign_times, identifier
from app.core.security._errors import InvalidToken
from app.core.security._scopes import known_roles, known_scopes

AUDIENCE = "authenticated"
_VERSION_4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class SupabaseRules:
    """Which project must have issued the token, and how far clocks may differ (``leeway_s``, seconds, for ``iat`` and ``nbf``)."""

    issuer: str
    leeway_s: int = 5

    def principal(self, claims: Mapping[str, Any], now: float) -> Principal:
        """The signed-in user whom the claims describe at ``now`` (seconds since the epoch).

        Scopes and roles are the known names in ``app_metadata``, which only the project's administrators write; ``user_metadata``, which
        the user writes himself, and ``role`` give nothing. Raises ``InvalidToken`` whose reason is the claim at fault, or ``expired``.
        """
        check_addressee(claims, self.issuer, AUDIENCE)
        issued_at, expires_at = check_foreign_times(claims, now, self.leeway_s)
        _check_kind(claims)
        granted = claims.get("app_metadata")
        granted = granted if isinstance(granted, dict) else {}
        return Principal(
            id=_user_id(claims),
            token_id=_optional(claims, "jti"),
            session_id=_optional(claims, "session_id"),
            scopes=_known(granted, "scopes", known_scopes),
            roles=_known(granted, "roles", known_roles),
            methods=_methods(claims),
            issued_at=float(issued_at),
            expires_at=float(expires_at),
            authenticated_at=_authenticated_at(claims, issued_at),
        )


def _check_kind(claims: Mapping[str, Any]) -> None:
    """Somebody has signed in, himself: no ``anon`` key, no anonymous user, no application of others that acts for a user."""
    role = claims.get("role")
    if not isinstance(role, str) or role == "anon":
        raise InvalidToken("role")
    if claims.get("is_anonymous", False) is not False:
        raise InvalidToken("is_anonymous")
    if claims.get("client_id") is not None:
        raise InvalidToken("client_id")


def _user_id(claims: Mapping[str, Any]) -> str:
    """Supabase makes version 4 UUIDs, we make version 7: so no id is both a user's of the project and one of ours."""
    value = claims.get("sub")
    if not isinstance(value, str) or not _VERSION_4.fullmatch(value):
        raise InvalidToken("sub")
    return value


def _optional(claims: Mapping[str, Any], name: str) -> str | None:
    return identifier(claims, name) if claims.get(name) is not None else None


def _known(granted: Mapping[str, Any], name: str, known: Mapping[str, str]) -> frozenset[str]:
    value = granted.get(name)
    if not isinstance(value, list):
        return frozenset()
    return frozenset(one for one in value if isinstance(one, str) and one in known)


def _methods(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """In the words of RFC 8176. Supabase calls a link by e-mail ``otp`` too, so only its assurance level tells of a second factor."""
    password = ("pwd",) if any(method == "password" for method, _ in _entries(claims)) else ()
    return (*password, "mfa") if claims.get("aal") == "aal2" else password


def _authenticated_at(claims: Mapping[str, Any], issued_at: int) -> float:
    """When the user last proved who he is; 0 (long ago) where the token does not tell."""
    times = [
        at
        for method, at in _entries(claims)
        if method != "token_refresh" and type(at) is int and 0 < at <= issued_at
    ]
    return float(max(times, default=0))


def _entries(claims: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Method and time of each entry of ``amr``; Supabase writes objects, and texts where a hook asks for that."""
    value = claims.get("amr")
    for one in value if isinstance(value, list) else ():
        if isinstance(one, dict):
            yield one.get("method"), one.get("timestamp")
        else:
            yield one, None
