"""What accounts take and answer."""

from app.builtin.accounts.schemas._strict import MAX_PASSWORD
from app.builtin.accounts.schemas.administration import (
    UserChange,
    UserCreate,
    UserOut,
    UserPage,
    UserQuery,
)
from app.builtin.accounts.schemas.audit import AuditOut, AuditPage, AuditQuery
from app.builtin.accounts.schemas.email import EmailChange, EmailConfirmation
from app.builtin.accounts.schemas.passwords import (
    PasswordChangeIn,
    PasswordResetConfirmation,
    PasswordResetRequest,
)
from app.builtin.accounts.schemas.registration import RegistrationConfirmation, RegistrationRequest
from app.builtin.accounts.schemas.sessions import LogoutQuery, SessionOut, SessionPage, SessionQuery
from app.builtin.accounts.schemas.tokens import PasswordGrant, RefreshGrant, TokenAnswer
from app.builtin.accounts.schemas.users import Me

__all__ = [
    "MAX_PASSWORD",
    "AuditOut",
    "AuditPage",
    "AuditQuery",
    "EmailChange",
    "EmailConfirmation",
    "LogoutQuery",
    "Me",
    "PasswordChangeIn",
    "PasswordGrant",
    "PasswordResetConfirmation",
    "PasswordResetRequest",
    "RefreshGrant",
    "RegistrationConfirmation",
    "RegistrationRequest",
    "SessionOut",
    "SessionPage",
    "SessionQuery",
    "TokenAnswer",
    "UserChange",
    "UserCreate",
    "UserOut",
    "UserPage",
    "UserQuery",
]
