"""Tokens, passwords, scopes, roles, encryption. Hashes, signs and encrypts; counts nothing and asks no store.

Limits on attempts belong to ``core/policies``, accounts to ``builtin/accounts``.
"""

from app.core.security._encryptor import DataEncryptor, configure_encryption
from app.core.security._errors import DecryptionFailed, InvalidToken, KeysNotLoaded
from app.core.security._files import exposed_files
from app.core.security._key_folder import KeyFolder
from app.core.security._key_rotation import KeyRotation, KeyStatus
from app.core.security._key_set import KeySet, KeySource, KeyState, KeyTerm
from app.core.security._keys import Algorithm, TokenKey
from app.core.security._oidc import OidcTokens
from app.core.security._oidc_issuer import NameMapping, OidcIssuer, oidc_user_id
from app.core.security._parameters import Decrypted, Encrypted, with_encrypted_parameters
from app.core.security._passwords import PasswordHasher
from app.core.security._scopes import (
    check_rights,
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

__all__ = [
    "Algorithm",
    "Clock",
    "DataEncryptor",
    "Decrypted",
    "DecryptionFailed",
    "Encrypted",
    "InvalidToken",
    "IssuedToken",
    "KeyFolder",
    "KeyRotation",
    "KeySet",
    "KeySource",
    "KeyState",
    "KeyStatus",
    "KeyTerm",
    "KeysNotLoaded",
    "NameMapping",
    "OidcIssuer",
    "OidcTokens",
    "OtherIssuer",
    "PasswordHasher",
    "SealBroken",
    "Sealer",
    "SupabaseTokens",
    "TokenKey",
    "TokenService",
    "check_rights",
    "configure_encryption",
    "exposed_files",
    "format_scope",
    "is_role",
    "known_roles",
    "known_scopes",
    "oidc_user_id",
    "parse_scope",
    "register_role",
    "register_scope",
    "unknown_roles",
    "unknown_scopes",
    "with_encrypted_parameters",
]
