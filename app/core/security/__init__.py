"""Tokens, passwords, scopes, roles, encryption. Hashes, signs and encrypts; counts nothing and asks no store.

Limits on attempts belong to ``core/policies``, accounts to ``builtin/accounts``.
"""

from app.core.security._api_key_text import (
    API_KEY_PREFIX,
    api_key_hash,
    api_key_prefix,
    new_api_key,
    read_api_key,
)
from app.core.security._api_keys import API_KEY_TTL_S, ApiKeyRecord, ApiKeys, ApiKeyStore
from app.core.security._encryptor import DataEncryptor, configure_encryption
from app.core.security._errors import (
    ApiKeyNotLoaded,
    DecryptionFailed,
    InvalidApiKey,
    InvalidToken,
    KeysNotLoaded,
)
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
    scopes_of,
    unknown_roles,
    unknown_scopes,
)
from app.core.security._sealing import SealBroken, Sealer
from app.core.security._supabase import SupabaseTokens
from app.core.security._tokens import Clock, IssuedToken, OtherIssuer, TokenService
from app.core.security._webhooks import WebhookKeys

__all__ = [
    "API_KEY_PREFIX",
    "API_KEY_TTL_S",
    "Algorithm",
    "ApiKeyNotLoaded",
    "ApiKeyRecord",
    "ApiKeyStore",
    "ApiKeys",
    "Clock",
    "DataEncryptor",
    "Decrypted",
    "DecryptionFailed",
    "Encrypted",
    "InvalidApiKey",
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
    "WebhookKeys",
    "api_key_hash",
    "api_key_prefix",
    "check_rights",
    "configure_encryption",
    "exposed_files",
    "format_scope",
    "is_role",
    "known_roles",
    "known_scopes",
    "new_api_key",
    "oidc_user_id",
    "parse_scope",
    "read_api_key",
    "register_role",
    "register_scope",
    "scopes_of",
    "unknown_roles",
    "unknown_scopes",
    "with_encrypted_parameters",
]
