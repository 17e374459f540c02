"""Reads and writes of accounts, in a session that the caller commits."""

from app.builtin.accounts.repository.api_keys import ApiKeyRepository, FoundKey, find_key, write_uses
from app.builtin.accounts.repository.audit import AuditRepository
from app.builtin.accounts.repository.deleted import DeletedUserRepository
from app.builtin.accounts.repository.email_tokens import EmailTokenRepository
from app.builtin.accounts.repository.epochs import read_epoch
from app.builtin.accounts.repository.mfa import MfaRepository
from app.builtin.accounts.repository.page_sessions import PageSessionRepository
from app.builtin.accounts.repository.rights import UserRights, find_rights
from app.builtin.accounts.repository.sessions import SessionRepository
from app.builtin.accounts.repository.users import EmailTaken, UserRepository

__all__ = [
    "ApiKeyRepository",
    "AuditRepository",
    "DeletedUserRepository",
    "EmailTaken",
    "EmailTokenRepository",
    "FoundKey",
    "MfaRepository",
    "PageSessionRepository",
    "SessionRepository",
    "UserRepository",
    "UserRights",
    "find_key",
    "find_rights",
    "read_epoch",
    "write_uses",
]
