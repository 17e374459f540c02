"""What accounts provide to the application: who verifies tokens, and who signs in."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import SecretStr

from app.builtin.accounts.service.sign_in import SignIn
from app.core.http import Platform, TokenVerifier
from app.core.policies import AttemptLimit, RateLimit
from app.core.security import OtherIssuer, PasswordHasher, SupabaseTokens, TokenKey, TokenService


class _Token(Protocol):
    ttl_s: int
    issuer: str
    audience: str


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
    limit = RateLimit.fixed_window(
        "account",
        limit=settings.login.per_account,
        window=settings.login.account_window_s,
        on_store_down="closed",
    )
    attempts = AttemptLimit(platform.admitter, "auth_token", limit, secret=secret.encode())
    passwords = PasswordHasher()
    platform.on_stop.append(passwords.close)
    sign_in = SignIn(tokens=tokens, passwords=passwords, attempts=attempts)
    return {TokenVerifier: tokens, TokenService: tokens, SignIn: sign_in}


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
