"""Tokens, passwords, scopes, roles, sealing. Hashes, signs and encrypts; counts nothing and asks no store.

Limits on attempts belong to ``core/policies``, accounts to ``builtin/accounts``.
"""

from app.core.security._errors import InvalidToken
from app.core.security._keys import Algorithm, TokenKey
from app.core.security._passwords import PasswordHasher
from app.core.security._scopes import (
    format_scope,
    is_role,
    known_roles,
    known_scopes,
    parse_scope,
    register_role,
    register_scope,
    unknown_roles,
    unknown_scopes,
)
from app.core.security._sealing import SealBroken, Sealer
from app.core.security._tokens import Clock, IssuedToken, TokenService

__all__ = [
    "Algorithm",
    "Clock",
    "InvalidToken",
    "IssuedToken",
    "PasswordHasher",
    "SealBroken",
    "Sealer",
    "TokenKey",
    "TokenService",
    "format_scope",
    "is_role",
    "known_roles",
    "known_scopes",
    "parse_scope",
    "register_role",
    "register_scope",
    "unknown_roles",
    "unknown_scopes",
]
