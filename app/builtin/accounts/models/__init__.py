"""The tables of users, their second factors, their sessions and API keys, and what was done to accounts."""

from app.builtin.accounts.models.api_keys import ApiKey, ApiKeySecret
from app.builtin.accounts.models.audit import AuditEvent
from app.builtin.accounts.models.deleted import DeletedUser
from app.builtin.accounts.models.email_tokens import EmailToken
from app.builtin.accounts.models.mfa import MfaChallenge, MfaFactor, RecoveryCode
from app.builtin.accounts.models.page_sessions import PageSession
from app.builtin.accounts.models.sessions import AuthSession, RefreshToken
from app.builtin.accounts.models.users import MAX_EMAIL, User, email_key

TABLES = (
    User,
    DeletedUser,
    AuthSession,
    RefreshToken,
    PageSession,
    MfaFactor,
    RecoveryCode,
    MfaChallenge,
    ApiKey,
    ApiKeySecret,
    EmailToken,
    AuditEvent,
)

__all__ = [
    "MAX_EMAIL",
    "TABLES",
    "ApiKey",
    "ApiKeySecret",
    "AuditEvent",
    "AuthSession",
    "DeletedUser",
    "EmailToken",
    "MfaChallenge",
    "MfaFactor",
    "PageSession",
    "RecoveryCode",
    "RefreshToken",
    "User",
    "email_key",
]
