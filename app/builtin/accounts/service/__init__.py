"""What accounts do: sign-in and sessions for requests, administration for the command line, upkeep for the periodic tasks."""

from app.builtin.accounts.service.administration import (
    Administration,
    create_user,
    user_out,
)
from app.builtin.accounts.service.api_key_store import AccountApiKeys
from app.builtin.accounts.service.api_key_upkeep import ApiKeyUpkeep
from app.builtin.accounts.service.api_keys import ApiKeyDesk, ApiKeyRules
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.desk import SessionDesk
from app.builtin.accounts.service.development import (
    DEVELOPMENT_USERS,
    DevelopmentUser,
    seed_accounts,
    seed_development,
)
from app.builtin.accounts.service.device_token import DeviceTokens
from app.builtin.accounts.service.email_tokens import BadEmailToken, EmailTokens, TokenLives
from app.builtin.accounts.service.email_upkeep import EmailTokenUpkeep
from app.builtin.accounts.service.email_verification import EmailVerification
from app.builtin.accounts.service.epochs import AccountEpochs
from app.builtin.accounts.service.functions import (
    AccountFunctions,
    configure_functions,
    create_access_token,
    get_password_hash,
    verify_password,
)
from app.builtin.accounts.service.granting import ADMIN, LastAdministrator, OwnAccount, RightsNotHeld
from app.builtin.accounts.service.known_places import KnownPlaces
from app.builtin.accounts.service.letters import Letters, MailIsOff
from app.builtin.accounts.service.lifetimes import Lifetimes
from app.builtin.accounts.service.mail_texts import MailTexts
from app.builtin.accounts.service.mfa import Enabled, MfaDesk, reset_mfa
from app.builtin.accounts.service.mfa_errors import BadMfaToken, BadProof, MfaRequired, TooManyCodes
from app.builtin.accounts.service.mfa_factor import SecondFactor
from app.builtin.accounts.service.mfa_sign_in import MfaSignIn
from app.builtin.accounts.service.mfa_step_up import StepUp
from app.builtin.accounts.service.new_password import NewPassword
from app.builtin.accounts.service.opened import Opened
from app.builtin.accounts.service.page_sessions import PageSessions
from app.builtin.accounts.service.password_change import PasswordChange
from app.builtin.accounts.service.password_proof import NotWithApiKey, PasswordProof, WrongPassword
from app.builtin.accounts.service.password_reset import PasswordReset
from app.builtin.accounts.service.passwords import MIN_PASSWORD, UnfitPassword, check_password
from app.builtin.accounts.service.provide import AccountSettings, provide_accounts
from app.builtin.accounts.service.registration import Registration, RegistrationIsOff
from app.builtin.accounts.service.revocation import EndReason, Revocation
from app.builtin.accounts.service.rights import RightsDoNotFit
from app.builtin.accounts.service.scopes import InvalidScope
from app.builtin.accounts.service.script_functions import script_functions
from app.builtin.accounts.service.second_step import SecondStep
from app.builtin.accounts.service.sessions import BadRefreshToken, RefreshedTooOften, Sessions
from app.builtin.accounts.service.sign_in import (
    BadCredentials,
    EmailNotVerified,
    SignIn,
    current_user,
)
from app.builtin.accounts.service.sign_in_guard import SignInGuard, SignInLimits
from app.builtin.accounts.service.upkeep import SessionUpkeep

__all__ = [
    "ADMIN",
    "DEVELOPMENT_USERS",
    "MIN_PASSWORD",
    "AccountApiKeys",
    "AccountEpochs",
    "AccountFunctions",
    "AccountSettings",
    "Administration",
    "ApiKeyDesk",
    "ApiKeyRules",
    "ApiKeyUpkeep",
    "AuditLog",
    "BadCredentials",
    "BadEmailToken",
    "BadMfaToken",
    "BadProof",
    "BadRefreshToken",
    "DevelopmentUser",
    "DeviceTokens",
    "EmailNotVerified",
    "EmailTokenUpkeep",
    "EmailTokens",
    "EmailVerification",
    "Enabled",
    "EndReason",
    "InvalidScope",
    "KnownPlaces",
    "LastAdministrator",
    "Letters",
    "Lifetimes",
    "MailIsOff",
    "MailTexts",
    "MfaDesk",
    "MfaRequired",
    "MfaSignIn",
    "NewPassword",
    "NotWithApiKey",
    "Opened",
    "OwnAccount",
    "PageSessions",
    "PasswordChange",
    "PasswordProof",
    "PasswordReset",
    "RefreshedTooOften",
    "Registration",
    "RegistrationIsOff",
    "Revocation",
    "RightsDoNotFit",
    "RightsNotHeld",
    "SecondFactor",
    "SecondStep",
    "SessionDesk",
    "SessionUpkeep",
    "Sessions",
    "SignIn",
    "SignInGuard",
    "SignInLimits",
    "StepUp",
    "TokenLives",
    "TooManyCodes",
    "UnfitPassword",
    "WrongPassword",
    "check_password",
    "configure_functions",
    "create_access_token",
    "create_user",
    "current_user",
    "get_password_hash",
    "provide_accounts",
    "reset_mfa",
    "script_functions",
    "seed_accounts",
    "seed_development",
    "user_out",
    "verify_password",
]
