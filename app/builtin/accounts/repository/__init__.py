"""Reads and writes of accounts, in a session that the caller commits."""

from app.builtin.accounts.repository.audit import AuditRepository
from app.builtin.accounts.repository.epochs import read_epoch
from app.builtin.accounts.repository.page_sessions import PageSessionRepository
from app.builtin.accounts.repository.sessions import SessionRepository
from app.builtin.accounts.repository.users import EmailTaken, UserRepository

__all__ = [
    "AuditRepository",
    "EmailTaken",
    "PageSessionRepository",
    "SessionRepository",
    "UserRepository",
    "read_epoch",
]
