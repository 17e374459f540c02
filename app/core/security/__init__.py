"""Tokens, passwords, scopes, roles, encryption. Hashes, signs and encrypts; counts nothing and asks no store.

Limits on attempts belong to ``core/policies``, accounts to ``builtin/accounts``.
"""

from app.core.security._encryptor import DataEncryptor, configure_encryption
from app.core.security._errors import DecryptionFailed, InvalidToken, KeysNotLoaded
from app.core.security._files import exposed_files
from app.core.security._keys import Algorithm, TokenKey
from app.core.security._parameters import Decrypted, Encrypted, with_encrypted_parameters
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
from app.core.security._supabase import SupabaseTokens
from app.core.security._tokens import Clock, IssuedToken, OtherIssuer, TokenService
from app.core.security._webhooks import WebhookKeys

__all__ = [
    "Algorithm",
    "Clock",
    "DataEncryptor",
    "Decrypted",
    "DecryptionFailed",
    "Encrypted",
    "InvalidToken",
    "IssuedToken",
    "KeysNotLoaded",
    "OtherIssuer",
    "PasswordHasher",
    "SealBroken",
    "Sealer",
    "SupabaseTokens",
    "TokenKey",
    "TokenService",
    "WebhookKeys",
    "configure_encryption",
    "exposed_files",
    "format_scope",
    "is_role",
    "known_roles",
    "known_scopes",
    "parse_scope",
    "register_role",
    "register_scope",
    "unknown_roles",
    "unknown_scopes",
    "with_encrypted_parameters",
]
