"""The tables of users, their sessions, and what was done to accounts."""

from app.builtin.accounts.models.audit import AuditEvent
from app.builtin.accounts.models.page_sessions import PageSession
from app.builtin.accounts.models.sessions import AuthSession, RefreshToken
from app.builtin.accounts.models.users import MAX_EMAIL, User, email_key

__all__ = ["MAX_EMAIL", "AuditEvent", "AuthSession", "PageSession", "RefreshToken", "User", "email_key"]
