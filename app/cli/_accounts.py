"""Commands about users: what they do, without how they are asked."""

from collections.abc import Sequence
from typing import Any

from app.builtin.accounts.models import User
from app.builtin.accounts.service import create_user, grant
from app.cli._sessions import one_session
from app.core.security import PasswordHasher
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


def _shown(user: User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "email": user.email,
        "roles": sorted(user.roles),
        "scopes": sorted(user.scopes),
    }
