"""Commands about users: what they do, without how they are asked."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import app.registry  # noqa: F401 - features make their roles and scopes known
from app.builtin.accounts.models import User
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.schemas import UserQuery
from app.builtin.accounts.service import Administration, AuditLog, Revocation
from app.builtin.accounts.service import reset_mfa as take_mfa
from app.builtin.accounts.service.epochs import CLOCKS_DIFFER_S
from app.cli._sessions import one_session
from app.core.db import AsyncSession, after_commit_idle
from app.core.errors import ConfigurationError, EntityNotFoundError
from app.core.policies import EpochBook
from app.core.resilience import SystemClock
from app.core.security import PasswordHasher
from app.core.valkey import ValkeyClient
from app.settings import Settings

Work = Callable[[Administration, AsyncSession, User], Awaitable[object]]
_NOWHERE = "valkey://127.0.0.1:1/0"


async def create(
    settings: Settings, email: str, password: str, roles: Sequence[str], scopes: Sequence[str]
) -> dict[str, Any]:
    """Add a user. Raises ``Conflict`` when there is one with this address and ``Unprocessable`` for what nobody can be."""
    async with _administration(settings, ends_tokens=False) as (desk, session):
        return _shown(await desk.create(session, email, password, roles=roles, scopes=scopes, by=None))


async def give(settings: Settings, email: str, roles: Sequence[str], scopes: Sequence[str]) -> dict[str, Any]:
    """Add roles and scopes to a user's. Raises ``EntityNotFoundError``, ``Unprocessable``, and StoreError."""

    async def work(desk: Administration, session: AsyncSession, user: User) -> None:
        await desk.give(session, user.id, roles=roles, scopes=scopes, by=None)

    return await _change(settings, email, work)


async def take(settings: Settings, email: str, roles: Sequence[str], scopes: Sequence[str]) -> dict[str, Any]:
    """Take roles and scopes from a user. Raises ``EntityNotFoundError`` and StoreError."""

    async def work(desk: Administration, session: AsyncSession, user: User) -> None:
        await desk.take(session, user.id, roles=roles, scopes=scopes, by=None)

    return await _change(settings, email, work)


async def set_active(settings: Settings, email: str, *, is_active: bool) -> dict[str, Any]:
    """Enable a user, or disable him and end his sessions. Raises ``EntityNotFoundError`` and StoreError."""

    async def work(desk: Administration, session: AsyncSession, user: User) -> None:
        await (desk.enable if is_active else desk.disable)(session, user.id, by=None)

    return await _change(settings, email, work)


async def sign_out(settings: Settings, email: str) -> dict[str, Any]:
    """End all sessions and tokens of a user. Raises ``EntityNotFoundError`` and StoreError."""
    ended = 0

    async def work(desk: Administration, session: AsyncSession, user: User) -> None:
        nonlocal ended
        ended = await desk.sign_out(session, user.id)

    return await _change(settings, email, work) | {"ended_sessions": ended}


async def delete(settings: Settings, email: str) -> dict[str, Any]:
    """Delete a user and all that belongs to him. Raises ``EntityNotFoundError`` and StoreError."""

    async def work(desk: Administration, session: AsyncSession, user: User) -> None:
        await desk.delete(session, user.id, by=None)

    return await _change(settings, email, work)


async def page(settings: Settings, query: UserQuery) -> dict[str, Any]:
    """Users, newest first; ``next_cursor`` is None on the last page."""
    async with _administration(settings, ends_tokens=False) as (desk, session):
        return (await desk.page(session, query)).model_dump(mode="json")


async def _change(settings: Settings, email: str, work: Work) -> dict[str, Any]:
    async with _administration(settings) as (desk, session):
        user = await _user(session, email)
        await work(desk, session, user)
        return _shown(user)


@asynccontextmanager
async def _administration(
    settings: Settings, *, ends_tokens: bool = True
) -> AsyncIterator[tuple[Administration, AsyncSession]]:
    """The service, and a session that commits at the end. Raises as ``_revocation`` does."""
    hasher = PasswordHasher()
    try:
        async with _revocation(settings, is_needed=ends_tokens) as (revocation, session):
            yield Administration(revocation, hasher, AuditLog(SystemClock())), session
    finally:
        hasher.close()


@asynccontextmanager
async def _revocation(
    settings: Settings, *, is_needed: bool = True
) -> AsyncIterator[tuple[Revocation, AsyncSession]]:
    """What ends tokens, and a session that commits at the end. Raises ``ConfigurationError`` when tokens end and there is no store."""
    if is_needed and settings.store_url is None:
        raise ConfigurationError("VALKEY_URL is not set, and tokens that are out must end there")
    store = ValkeyClient(
        settings.store_url or _NOWHERE, timeout_s=5.0, client_name=f"{settings.app_name}-cli"
    )
    book = EpochBook(store, grace_s=settings.revocation_grace_s)
    try:
        async with one_session(settings) as session:
            yield Revocation(book, SystemClock(), ahead_s=CLOCKS_DIFFER_S), session
        await after_commit_idle()
    finally:
        await store.close()


async def reset_mfa(settings: Settings, email: str) -> dict[str, Any]:
    """Take a user's second factor away and end his sessions. Raises ``EntityNotFoundError``, and StoreError when Valkey does not answer."""
    async with _revocation(settings) as (revocation, session):
        user = await _user(session, email)
        was_on = await take_mfa(session, revocation, AuditLog(SystemClock()), user.id)
    return {"id": str(user.id), "email": user.email, "mfa_was_on": was_on}


async def _user(session: AsyncSession, email: str) -> User:
    user = await UserRepository(session).get_by_email(email)
    if user is None:
        raise EntityNotFoundError("There is no user with this e-mail address.")
    return user


def _shown(user: User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "email": user.email,
        "is_active": user.is_active,
        "roles": sorted(user.roles),
        "scopes": sorted(user.scopes),
        "all_scopes": sorted(user.all_scopes),
    }
