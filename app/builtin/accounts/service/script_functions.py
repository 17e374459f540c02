"""Passwords and tokens in a script."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app.builtin.accounts.service.functions import AccountFunctions, configure_functions
from app.builtin.accounts.service.provide_guard import sign_in_limits
from app.builtin.accounts.service.signing import token_keys
from app.core.errors import ConfigurationError
from app.core.policies import Admitter
from app.core.resilience import SystemClock
from app.core.security import PasswordHasher, TokenService
from app.core.valkey import ValkeyClient


@asynccontextmanager
async def script_functions(settings: Any) -> AsyncIterator[AccountFunctions]:
    """Within it ``get_password_hash``, ``verify_password`` and ``create_access_token`` work in a script, counted in the service's Valkey.

    ``settings`` are those of the service, as ``load_environment_files()`` gives them. Raises ``ConfigurationError`` for settings that
    cannot serve. Not in the service itself, which does all this.
    """
    if settings.store_url is None:
        raise ConfigurationError("VALKEY_URL is not set: attempts cannot be counted")
    clock, secret = SystemClock(), settings.secret_key.get_secret_value()
    tokens = TokenService(
        token_keys(settings.secrets, settings.token.keys_dir, ttl_s=settings.token.ttl_s, clock=clock),
        issuer=settings.token.issuer,
        audience=settings.token.audience,
        ttl_s=settings.token.ttl_s,
        clock=clock,
    )
    store = ValkeyClient(settings.store_url, client_name=f"{settings.app_name}-script")
    passwords = PasswordHasher()
    admitter = Admitter(store, clock=clock, clustered=settings.valkey_clustered)
    functions = AccountFunctions(
        admitter, passwords, tokens, sign_in_limits(settings.login), secret=secret.encode()
    )
    forget = configure_functions(functions)
    try:
        yield functions
    finally:
        forget()
        passwords.close()
        await store.close()
