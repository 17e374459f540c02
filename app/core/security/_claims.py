"""What the claims of a token with a good signature must say before they become a principal."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.context import Principal
from app.core.security._errors import InvalidToken
from app.core.security._scopes import MAX_ROLES, is_role, parse_scope

MAX_LIFETIME_S = 86_400
MAX_LEEWAY_S = 30
_LATEST = (
    253_402_300_799  # The last second of the year 9999; larger numbers break date arithmetic downstream.
)
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,255}")


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
        check_addressee(claims, self.issuer, self.audience)
        issued_at, expires_at = self._check_times(claims, now)
        return Principal(
            id=identifier(claims, "sub"),
            token_id=identifier(claims, "jti"),
            session_id=identifier(claims, "sid"),
            scopes=_scopes(claims),
            roles=_roles(claims),
            methods=tuple(_strings(claims, "amr")),
            issued_at=issued_at,
            expires_at=float(expires_at),
            authenticated_at=float(seconds(claims, "auth_time")),
        )

    def _check_times(self, claims: Mapping[str, Any], now: float) -> tuple[float, int]:
        issued, starts, expires = seconds(claims, "iat"), seconds(claims, "nbf"), seconds(claims, "exp")
        issued_ms = seconds(claims, "iat_ms", scale=1000)
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


def check_addressee(claims: Mapping[str, Any], issuer: str, audience: str) -> None:
    """Raises ``InvalidToken`` unless exactly this issuer speaks, to this audience among others."""
    by, to = claims.get("iss"), claims.get("aud")
    if not isinstance(by, str) or by != issuer:
        raise InvalidToken("iss")
    if isinstance(to, str):
        to = [to]
    if not isinstance(to, list) or not all(isinstance(one, str) for one in to) or audience not in to:
        raise InvalidToken("aud")


def check_foreign_times(claims: Mapping[str, Any], now: float, leeway_s: int) -> tuple[int, int]:
    """``iat`` and ``exp`` of a token of others: both are there, it lives a day at most, and that is now. Raises ``InvalidToken``."""
    issued, expires = seconds(claims, "iat"), seconds(claims, "exp")
    if not issued < expires <= issued + MAX_LIFETIME_S:
        raise InvalidToken("exp")
    if issued > now + leeway_s:
        raise InvalidToken("iat")
    if claims.get("nbf") is not None and seconds(claims, "nbf") > now + leeway_s:
        raise InvalidToken("nbf")
    if expires <= now:
        raise InvalidToken("expired")
    return issued, expires


def seconds(claims: Mapping[str, Any], name: str, *, scale: int = 1) -> int:
    """A NumericDate as we issue it: a positive whole number. ``True`` is an ``int`` too, and no date."""
    value = claims.get(name)
    if type(value) is not int or not 0 < value <= _LATEST * scale:
        raise InvalidToken(name)
    return value


def identifier(claims: Mapping[str, Any], name: str) -> str:
    """A claim that is 1 to 255 visible ASCII characters."""
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
    if len(roles) > MAX_ROLES or not all(map(is_role, roles)):
        raise InvalidToken("roles")
    return frozenset(roles)


def _strings(claims: Mapping[str, Any], name: str) -> list[str]:
    value = claims.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidToken(name)
    return value
