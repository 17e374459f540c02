"""What accounts provide to the application: who verifies tokens, who signs in and out, and who knows that."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import SecretStr

from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.desk import SessionDesk
from app.builtin.accounts.service.epochs import AccountEpochs
from app.builtin.accounts.service.lifetimes import Lifetimes
from app.builtin.accounts.service.page_sessions import PageSessions
from app.builtin.accounts.service.revocation import Revocation
from app.builtin.accounts.service.sessions import Sessions
from app.builtin.accounts.service.sign_in import SignIn
from app.builtin.accounts.service.upkeep import SessionUpkeep
from app.core.db import after_commit_idle
from app.core.http import PageVerifier, Platform, TokenVerifier
from app.core.policies import AttemptLimit, EpochBook, EpochSource, RateLimit
from app.core.security import OtherIssuer, PasswordHasher, SupabaseTokens, TokenKey, TokenService


class _Token(Protocol):
    ttl_s: int
    issuer: str
    audience: str
    session_s: int
    session_idle_s: int
    refresh_grace_s: int


class _Login(Protocol):
    per_account: int
    account_window_s: int


class AccountSettings(Protocol):
    """The settings that accounts read; the service's ``Settings`` has them."""

    secret_key: SecretStr
    token: _Token
    login: _Login
    supabase_url: str | None
    supabase_jwt_secret: SecretStr | None
    revocation_grace_s: int


def provide_accounts(platform: Platform, settings: AccountSettings) -> Mapping[type[Any], Any]:
    """The services of this feature, by type. Raises ConfigurationError for a secret that is too short."""
    secret = settings.secret_key.get_secret_value()
    tokens = TokenService(
        [TokenKey.from_secret(secret)],
        issuer=settings.token.issuer,
        audience=settings.token.audience,
        ttl_s=settings.token.ttl_s,
        clock=platform.clock,
        others=_others(platform, settings),
    )
    lifetimes = Lifetimes(
        life_s=settings.token.session_s,
        idle_s=settings.token.session_idle_s,
        grace_s=settings.token.refresh_grace_s,
    )
    book = EpochBook(platform.store, grace_s=settings.revocation_grace_s)
    revocation = Revocation(book, platform.clock)
    sessions = Sessions(tokens=tokens, revocation=revocation, lifetimes=lifetimes, clock=platform.clock)
    pages = PageSessions(platform.database, revocation=revocation, lifetimes=lifetimes, clock=platform.clock)
    passwords = PasswordHasher()
    platform.on_stop += [passwords.close, after_commit_idle]
    return {
        TokenVerifier: tokens,
        TokenService: tokens,
        SignIn: SignIn(sessions=sessions, passwords=passwords, attempts=_attempts(platform, settings)),
        Sessions: sessions,
        Revocation: revocation,
        SessionDesk: SessionDesk(revocation, lifetimes, platform.clock),
        SessionUpkeep: SessionUpkeep(platform.database, lifetimes, platform.clock),
        PageVerifier: pages,
        PageSessions: pages,
        AuditLog: AuditLog(platform.clock),
        EpochSource: AccountEpochs(platform.database, platform.clock),
    }


def _attempts(platform: Platform, settings: AccountSettings) -> AttemptLimit:
    limit = RateLimit.fixed_window(
        "account",
        limit=settings.login.per_account,
        window=settings.login.account_window_s,
        on_store_down="closed",
    )
    secret = settings.secret_key.get_secret_value().encode()
    return AttemptLimit(platform.admitter, "auth_token", limit, secret=secret)


def _others(platform: Platform, settings: AccountSettings) -> Sequence[OtherIssuer]:
    """The Supabase project whose tokens are accepted beside ours, if there is one; closed with the application."""
    if settings.supabase_url is None:
        return ()
    secret = settings.supabase_jwt_secret
    project = SupabaseTokens(
        settings.supabase_url,
        clock=platform.clock,
        hub=platform.hub,
        secret=secret.get_secret_value() if secret is not None else None,
    )
    platform.on_stop.append(project.aclose)
    return (project,)
