"""What accounts provide to the application: who verifies tokens, who signs in and out, and who knows that."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from app.builtin.accounts.service.administration import Administration
from app.builtin.accounts.service.api_keys_provide import ApiKeySettings, provide_api_keys
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.desk import SessionDesk
from app.builtin.accounts.service.epochs import CLOCKS_DIFFER_S, AccountEpochs
from app.builtin.accounts.service.functions import AccountFunctions, configure_functions
from app.builtin.accounts.service.issuers import IssuerSettings, other_issuers
from app.builtin.accounts.service.lifetimes import Lifetimes
from app.builtin.accounts.service.mfa_provide import MfaParts, MfaSettings, mfa_roles, provide_mfa
from app.builtin.accounts.service.mfa_sign_in import MfaSignIn
from app.builtin.accounts.service.page_sessions import PageSessions
from app.builtin.accounts.service.provide_guard import LoginLimits, sign_in_guard, sign_in_limits
from app.builtin.accounts.service.provide_lifecycle import LifecycleSettings, Shared, provide_lifecycle
from app.builtin.accounts.service.revocation import Revocation
from app.builtin.accounts.service.second_step import MfaSecondStep, SecondStep
from app.builtin.accounts.service.sessions import Sessions
from app.builtin.accounts.service.sign_in import SignIn
from app.builtin.accounts.service.signing import token_keys
from app.builtin.accounts.service.submitters import AccountSubmitters
from app.builtin.accounts.service.upkeep import SessionUpkeep
from app.core.db import after_commit_idle
from app.core.http import PageVerifier, Platform, TokenVerifier
from app.core.jobs import Submitters
from app.core.policies import EpochBook, EpochSource
from app.core.security import PasswordHasher, TokenService


class _Token(Protocol):
    ttl_s: int
    keys_dir: Path | None
    issuer: str
    audience: str
    session_s: int
    session_idle_s: int
    refresh_grace_s: int
    refresh_per_minute: int


class AccountSettings(LifecycleSettings, IssuerSettings, Protocol):
    """The settings that accounts read; the service's ``Settings`` has them."""

    secret_key: SecretStr
    token: _Token
    login: LoginLimits
    mfa: MfaSettings
    api_key: ApiKeySettings
    revocation_grace_s: int

    @property
    def secrets(self) -> list[str]:
        """``SECRET_KEY``, then those that are accepted beside it."""
        ...


def provide_accounts(platform: Platform, settings: AccountSettings) -> Mapping[type[Any], Any]:
    """The services of this feature, by type. Raises ConfigurationError for keys that cannot serve, and for roles that there are not."""
    secret = settings.secret_key.get_secret_value()
    tokens, lifetimes = _tokens(platform, settings), _lifetimes(settings.token)
    passwords, audit = PasswordHasher(), AuditLog(platform.clock)
    book = EpochBook(platform.store, grace_s=settings.revocation_grace_s)
    revocation = Revocation(book, platform.clock, ahead_s=CLOCKS_DIFFER_S)
    withheld = mfa_roles(settings.mfa)
    sessions = Sessions(
        tokens=tokens, revocation=revocation, lifetimes=lifetimes, clock=platform.clock, mfa_roles=withheld
    )
    functions = AccountFunctions(
        platform.admitter, passwords, tokens, sign_in_limits(settings.login), secret=secret.encode()
    )
    platform.on_stop += [configure_functions(functions), passwords.close, after_commit_idle]
    guard = sign_in_guard(platform, settings.login, secret)
    mfa = provide_mfa(MfaParts(sessions, revocation, passwords, audit, platform.clock), settings.mfa)
    sign_in = SignIn(
        sessions=sessions,
        passwords=passwords,
        guard=guard,
        second_factor=mfa[MfaSignIn],
        verified_only=settings.registration.verified_sign_in,
    )
    shared = Shared(passwords=passwords, guard=guard, revocation=revocation, audit=audit)
    return {
        TokenVerifier: tokens,
        TokenService: tokens,
        SignIn: sign_in,
        SecondStep: MfaSecondStep(mfa[MfaSignIn]),
        AccountFunctions: functions,
        Sessions: sessions,
        AuditLog: audit,
        Submitters: AccountSubmitters(platform.database),
        Administration: Administration(revocation, passwords, audit),
        **mfa,
        **_provide_sessions(platform, revocation, lifetimes, withheld),
        **provide_lifecycle(platform, settings, shared),
        **provide_api_keys(platform, settings.api_key, book, audit),
    }


def _tokens(platform: Platform, settings: AccountSettings) -> TokenService:
    own = settings.token
    return TokenService(
        token_keys(settings.secrets, own.keys_dir, ttl_s=own.ttl_s, clock=platform.clock),
        issuer=own.issuer,
        audience=own.audience,
        ttl_s=own.ttl_s,
        clock=platform.clock,
        others=other_issuers(platform, settings),
    )


def _lifetimes(settings: _Token) -> Lifetimes:
    return Lifetimes(
        life_s=settings.session_s,
        idle_s=settings.session_idle_s,
        grace_s=settings.refresh_grace_s,
        refreshes_per_minute=settings.refresh_per_minute,
    )


def _provide_sessions(
    platform: Platform, revocation: Revocation, lifetimes: Lifetimes, withheld: frozenset[str]
) -> Mapping[type[Any], Any]:
    """What finds, lists and ends sessions, and looks after them."""
    pages = PageSessions(
        platform.database,
        revocation=revocation,
        lifetimes=lifetimes,
        clock=platform.clock,
        mfa_roles=withheld,
    )
    return {
        Revocation: revocation,
        EpochSource: AccountEpochs(platform.database, platform.clock),
        SessionDesk: SessionDesk(revocation, lifetimes, platform.clock),
        SessionUpkeep: SessionUpkeep(platform.database, lifetimes, platform.clock),
        PageVerifier: pages,
        PageSessions: pages,
    }
