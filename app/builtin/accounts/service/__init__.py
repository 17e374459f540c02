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
from app.builtin.accounts.service.opened import Opened
from app.builtin.accounts.service.page_sessions import PageSessions
from app.builtin.accounts.service.provide import AccountSettings, provide_accounts
from app.builtin.accounts.service.revocation import EndReason, Revocation
from app.builtin.accounts.service.scopes import InvalidScope
from app.builtin.accounts.service.second_step import SecondStep
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
    "BadRefreshToken",
    "DevelopmentUser",
    "EndReason",
    "InvalidScope",
    "Lifetimes",
    "Opened",
    "PageSessions",
    "Revocation",
    "SecondStep",
    "SessionDesk",
    "SessionUpkeep",
    "Sessions",
    "SignIn",
    "create_user",
    "current_user",
    "grant",
    "provide_accounts",
    "seed_accounts",
    "seed_development",
]
