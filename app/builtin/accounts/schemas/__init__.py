"""What accounts take and answer."""

from app.builtin.accounts.schemas._strict import MAX_PASSWORD
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
from app.builtin.accounts.schemas.sessions import LogoutQuery, SessionOut, SessionPage, SessionQuery
from app.builtin.accounts.schemas.tokens import PasswordGrant, RefreshGrant, TokenAnswer
from app.builtin.accounts.schemas.users import Me

__all__ = [
    "MAX_PASSWORD",
    "LogoutQuery",
    "Me",
    "MfaConfirmation",
    "MfaEnabled",
    "MfaEnrolment",
    "MfaGrant",
    "MfaProof",
    "MfaStatus",
    "PasswordGrant",
    "RecoveryCodes",
    "RefreshGrant",
    "RenewedToken",
    "SessionOut",
    "SessionPage",
    "SessionQuery",
    "StepUpForm",
    "TokenAnswer",
]
