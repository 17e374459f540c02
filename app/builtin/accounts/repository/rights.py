"""What a user may do now, past SQLAlchemy: workers ask for many."""

from typing import NamedTuple
from uuid import UUID

from app.core.db import Database

_FIND = "SELECT is_active, roles, scopes FROM users WHERE id = $1"


class UserRights(NamedTuple):
    """Roles and scopes of his own; without ``is_active`` they count for nothing."""

    is_active: bool
    roles: list[str]
    scopes: list[str]


async def find_rights(database: Database, user_id: UUID) -> UserRights | None:
    """None for somebody who is no user here. Raises a DatabaseError (503)."""
    rows = await database.fetch(_FIND, user_id)
    return UserRights(*rows[0]) if rows else None
