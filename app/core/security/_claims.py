"""What the claims of a token with a good signature must say before they become a principal."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.context import Principal
from app.core.security._errors import InvalidToken
from app.core.security._scopes import is_role, parse_scope

MAX_LIFETIME_S = 86_400
MAX_LEEWAY_S = 30
_LATEST = (
    253_402_300_799  # The last second of the year 9999; larger numbers break date arithmetic downstream.
)
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,255}")
_MAX_ROLES = 64


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """Who must have issued the token, for whom, and how far clocks may differ (``leeway_s``, seconds, for
    ``iat`` and ``nbf``).
    """

    issuer: str
    audience: str
    leeway_s: int = 5

    def principal(self, claims: Mapping[str, Any], now: float) -> Principal:
        """The caller whom the claims describe at ``now`` (seconds since the epoch).

        Every claim that we issue is required. Raises ``InvalidToken`` whose reason is the claim at fault, or
        ``expired``.
        """
        self._check_addressee(claims)
        issued_at, expires_at = self._check_times(claims, now)
        return Principal(
            id=_identifier(claims, "sub"),
            token_id=_identifier(claims, "jti"),
            session_id=_identifier(claims, "sid"),
            scopes=_scopes(claims),
            roles=_roles(claims),
            methods=tuple(_strings(claims, "amr")),
            issued_at=issued_at,
            expires_at=float(expires_at),
            authenticated_at=float(_seconds(claims, "auth_time")),
        )

    def _check_addressee(self, claims: Mapping[str, Any]) -> None:
        issuer, audience = claims.get("iss"), claims.get("aud")
        if not isinstance(issuer, str) or issuer != self.issuer:
            raise InvalidToken("iss")
        if isinstance(audience, str):
            audience = [audience]
        if (
            not isinstance(audience, list)
            or not all(isinstance(one, str) for one in audience)
            or self.audience not in audience
        ):
            raise InvalidToken("aud")

    def _check_times(self, claims: Mapping[str, Any], now: float) -> tuple[float, int]:
        issued, starts, expires = _seconds(claims, "iat"), _seconds(claims, "nbf"), _seconds(claims, "exp")
        issued_ms = _seconds(claims, "iat_ms", scale=1000)
        if issued_ms // 1000 != issued:
            raise InvalidToken("iat_ms")
        if not issued < expires <= issued + MAX_LIFETIME_S:
            raise InvalidToken("exp")
        if issued > now + self.leeway_s:
            raise InvalidToken("iat")
        if starts > now + self.leeway_s:
            raise InvalidToken("nbf")
        if expires <= now:
            raise InvalidToken("expired")
        return issued_ms / 1000, expires


def _seconds(claims: Mapping[str, Any], name: str, *, scale: int = 1) -> int:
    """A NumericDate as we issue it: a positive whole number. ``True`` is an ``int`` too, and no date."""
    value = claims.get(name)
    if type(value) is not int or not 0 < value <= _LATEST * scale:
        raise InvalidToken(name)
    return value


def _identifier(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise InvalidToken(name)
    return value


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    value = claims.get("scope")
    if not isinstance(value, str):
        raise InvalidToken("scope")
    try:
        return parse_scope(value)
    except ValueError as exc:
        raise InvalidToken("scope") from exc


def _roles(claims: Mapping[str, Any]) -> frozenset[str]:
    roles = _strings(claims, "roles")
    if len(roles) > _MAX_ROLES or not all(map(is_role, roles)):
        raise InvalidToken("roles")
    return frozenset(roles)


def _strings(claims: Mapping[str, Any], name: str) -> list[str]:
    value = claims.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidToken(name)
    return value
