"""What accounts do: sign-in and sessions for requests, administration for the command line, upkeep for the periodic tasks."""

from app.builtin.accounts.service.administration import (
    DEVELOPMENT_USERS,
    DevelopmentUser,
    create_user,
    grant,
    seed_accounts,
    seed_development,
)
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.desk import SessionDesk
from app.builtin.accounts.service.epochs import AccountEpochs
from app.builtin.accounts.service.lifetimes import Lifetimes
from app.builtin.accounts.service.mfa import Enabled, MfaDesk, reset_mfa
from app.builtin.accounts.service.mfa_errors import BadMfaToken, BadProof, MfaRequired, TooManyCodes
from app.builtin.accounts.service.mfa_factor import SecondFactor
from app.builtin.accounts.service.mfa_provide import MfaSettings
from app.builtin.accounts.service.mfa_sign_in import MfaSignIn
from app.builtin.accounts.service.mfa_step_up import StepUp
from app.builtin.accounts.service.opened import Opened
from app.builtin.accounts.service.provide import AccountSettings, provide_accounts
from app.builtin.accounts.service.revocation import EndReason, Revocation
from app.builtin.accounts.service.scopes import InvalidScope
from app.builtin.accounts.service.sessions import BadRefreshToken, Sessions
from app.builtin.accounts.service.sign_in import AttemptLimiter, BadCredentials, SignIn, current_user
from app.builtin.accounts.service.upkeep import SessionUpkeep

__all__ = [
    "DEVELOPMENT_USERS",
    "AccountEpochs",
    "AccountSettings",
    "AttemptLimiter",
    "AuditLog",
    "BadCredentials",
    "BadMfaToken",
    "BadProof",
    "BadRefreshToken",
    "DevelopmentUser",
    "Enabled",
    "EndReason",
    "InvalidScope",
    "Lifetimes",
    "MfaDesk",
    "MfaRequired",
    "MfaSettings",
    "MfaSignIn",
    "Opened",
    "Revocation",
    "SecondFactor",
    "SessionDesk",
    "SessionUpkeep",
    "Sessions",
    "SignIn",
    "StepUp",
    "TooManyCodes",
    "create_user",
    "current_user",
    "grant",
    "provide_accounts",
    "reset_mfa",
    "seed_accounts",
    "seed_development",
]
