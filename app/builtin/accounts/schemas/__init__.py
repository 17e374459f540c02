"""What accounts take and answer."""

from app.builtin.accounts.schemas._strict import MAX_PASSWORD
from app.builtin.accounts.schemas.administration import (
    UserChange,
    UserCreate,
    UserOut,
    UserPage,
    UserQuery,
)
from app.builtin.accounts.schemas.api_keys import (
    ApiKeyCreated,
    ApiKeyOut,
    ApiKeyPage,
    ApiKeyQuery,
    ApiKeyRequest,
    ApiKeyRotation,
)
from app.builtin.accounts.schemas.audit import AuditOut, AuditPage, AuditQuery
from app.builtin.accounts.schemas.email import EmailChange, EmailConfirmation
from app.builtin.accounts.schemas.keys import KeySetOut, PublicKey
from app.builtin.accounts.schemas.mfa import (
    MfaConfirmation,
    MfaEnabled,
    MfaEnrolment,
    MfaGrant,
    MfaProof,
    MfaStatus,
    RecoveryCodes,
    RenewedToken,
    StepUpForm,
)
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
    "ApiKeyCreated",
    "ApiKeyOut",
    "ApiKeyPage",
    "ApiKeyQuery",
    "ApiKeyRequest",
    "ApiKeyRotation",
    "AuditOut",
    "AuditPage",
    "AuditQuery",
    "EmailChange",
    "EmailConfirmation",
    "KeySetOut",
    "LogoutQuery",
    "Me",
    "MfaConfirmation",
    "MfaEnabled",
    "MfaEnrolment",
    "MfaGrant",
    "MfaProof",
    "MfaStatus",
    "PasswordChangeIn",
    "PasswordGrant",
    "PasswordResetConfirmation",
    "PasswordResetRequest",
    "PublicKey",
    "RecoveryCodes",
    "RefreshGrant",
    "RegistrationConfirmation",
    "RegistrationRequest",
    "RenewedToken",
    "SessionOut",
    "SessionPage",
    "SessionQuery",
    "StepUpForm",
    "TokenAnswer",
    "UserChange",
    "UserCreate",
    "UserOut",
    "UserPage",
    "UserQuery",
]
