"""The tables of users, their sessions and API keys, and what was done to accounts."""

from app.builtin.accounts.models.api_keys import ApiKey, ApiKeySecret
from app.builtin.accounts.models.audit import AuditEvent
from app.builtin.accounts.models.sessions import AuthSession, RefreshToken
from app.builtin.accounts.models.users import MAX_EMAIL, User, email_key

__all__ = [
    "MAX_EMAIL",
    "ApiKey",
    "ApiKeySecret",
    "AuditEvent",
    "AuthSession",
    "RefreshToken",
    "User",
    "email_key",
]
