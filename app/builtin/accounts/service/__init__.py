"""What accounts do: sign in for requests, administration for the command line."""

from app.builtin.accounts.service.administration import (
    DEVELOPMENT_USERS,
    DevelopmentUser,
    create_user,
    grant,
    seed_accounts,
    seed_development,
)
from app.builtin.accounts.service.provide import AccountSettings, provide_accounts
from app.builtin.accounts.service.sign_in import (
    AttemptLimiter,
    BadCredentials,
    InvalidScope,
    SignIn,
    current_user,
)

__all__ = [
    "DEVELOPMENT_USERS",
    "AccountSettings",
    "AttemptLimiter",
    "BadCredentials",
    "DevelopmentUser",
    "InvalidScope",
    "SignIn",
    "create_user",
    "current_user",
    "grant",
    "provide_accounts",
    "seed_accounts",
    "seed_development",
]
