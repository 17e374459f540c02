"""What accounts provide to the application: who verifies tokens, who signs in and out, and who knows that."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.desk import SessionDesk
from app.builtin.accounts.service.epochs import AccountEpochs
from app.builtin.accounts.service.issuers import IssuerSettings, other_issuers
from app.builtin.accounts.service.lifetimes import Lifetimes
from app.builtin.accounts.service.revocation import Revocation
from app.builtin.accounts.service.sessions import Sessions
from app.builtin.accounts.service.sign_in import SignIn
from app.builtin.accounts.service.signing import token_keys
from app.builtin.accounts.service.upkeep import SessionUpkeep
from app.core.db import after_commit_idle
from app.core.http import Platform, TokenVerifier
from app.core.policies import AttemptLimit, EpochBook, EpochSource, RateLimit
from app.core.security import PasswordHasher, TokenService


class _Token(Protocol):
    ttl_s: int
    keys_dir: Path | None
    issuer: str
    audience: str
    session_s: int
    session_idle_s: int
    refresh_grace_s: int


class _Login(Protocol):
    per_account: int
    account_window_s: int


class AccountSettings(IssuerSettings, Protocol):
    """The settings that accounts read; the service's ``Settings`` has them."""

    secret_key: SecretStr
    token: _Token
    login: _Login
    revocation_grace_s: int

    @property
    def secrets(self) -> list[str]:
        """``SECRET_KEY``, then those that are accepted beside it."""
        ...


def provide_accounts(platform: Platform, settings: AccountSettings) -> Mapping[type[Any], Any]:
    """The services of this feature, by type. Raises ConfigurationError for keys that cannot serve."""
    tokens = TokenService(
        token_keys(
            settings.secrets, settings.token.keys_dir, ttl_s=settings.token.ttl_s, clock=platform.clock
        ),
        issuer=settings.token.issuer,
        audience=settings.token.audience,
        ttl_s=settings.token.ttl_s,
        clock=platform.clock,
        others=other_issuers(platform, settings),
    )
    lifetimes = Lifetimes(
        life_s=settings.token.session_s,
        idle_s=settings.token.session_idle_s,
        grace_s=settings.token.refresh_grace_s,
    )
    book = EpochBook(platform.store, grace_s=settings.revocation_grace_s)
    revocation = Revocation(book, platform.clock)
    sessions = Sessions(tokens=tokens, revocation=revocation, lifetimes=lifetimes, clock=platform.clock)
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
