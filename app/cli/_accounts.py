"""Commands about users: what they do, without how they are asked."""

from collections.abc import Sequence
from typing import Any

from app.builtin.accounts.models import User
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.service import AuditLog, Revocation, create_user, grant
from app.builtin.accounts.service import reset_mfa as take_mfa
from app.cli._sessions import one_session
from app.core.db import after_commit_idle
from app.core.errors import ConfigurationError, EntityNotFoundError
from app.core.policies import EpochBook
from app.core.resilience import SystemClock
from app.core.security import PasswordHasher
from app.core.valkey import ValkeyClient
from app.settings import Settings


async def create(
    settings: Settings, email: str, password: str, roles: Sequence[str], scopes: Sequence[str]
) -> dict[str, Any]:
    """Add a user. Raises ``Conflict`` when there is one with this address and ``Unprocessable`` for what nobody can be."""
    async with one_session(settings) as session:
        return _shown(
            await create_user(session, PasswordHasher(), email, password, roles=roles, scopes=scopes)
        )


async def give(settings: Settings, email: str, roles: Sequence[str], scopes: Sequence[str]) -> dict[str, Any]:
    """Add roles and scopes to a user's. Raises ``EntityNotFoundError`` and ``Unprocessable``."""
    async with one_session(settings) as session:
        return _shown(await grant(session, email, roles=roles, scopes=scopes))


async def reset_mfa(settings: Settings, email: str) -> dict[str, Any]:
    """Take a user's second factor away and end his sessions. Raises ``EntityNotFoundError``, and StoreError when Valkey does not answer."""
    if settings.store_url is None:
        raise ConfigurationError("VALKEY_URL is not set; sessions cannot be ended without it")
    clock = SystemClock()
    store = ValkeyClient(settings.store_url, timeout_s=1.0, client_name=f"{settings.app_name}-cli")
    revocation = Revocation(EpochBook(store, grace_s=settings.revocation_grace_s), clock)
    try:
        async with one_session(settings) as session:
            user = await UserRepository(session).get_by_email(email)
            if user is None:
                raise EntityNotFoundError("There is no user with this e-mail address.")
            was_on = await take_mfa(session, revocation, AuditLog(clock), user.id)
        await after_commit_idle()
    finally:
        await store.close()
    return {"id": str(user.id), "email": user.email, "mfa_was_on": was_on}


def _shown(user: User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "email": user.email,
        "roles": sorted(user.roles),
        "scopes": sorted(user.scopes),
    }
