"""The users of the development seed."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.service.administration import create_user
from app.core.security import PasswordHasher, known_roles, known_scopes

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class DevelopmentUser(NamedTuple):
    """What a user of the development seed may do; ``None`` is everything that is known."""

    roles: frozenset[str] | None
    scopes: frozenset[str] | None


DEVELOPMENT_USERS: Mapping[str, DevelopmentUser] = MappingProxyType(
    {
        "admin@example.com": DevelopmentUser(roles=None, scopes=None),
        "analyst@example.com": DevelopmentUser(
            frozenset({"db_reader", "io_user"}), frozenset({"read:records", "read:credits", "read:external"})
        ),
        "viewer@example.com": DevelopmentUser(frozenset(), frozenset()),
    }
)


async def seed_development(
    session: "AsyncSession", hasher: PasswordHasher, credentials: Mapping[str, str]
) -> list[str]:
    """Make the users of ``DEVELOPMENT_USERS`` with the passwords in ``credentials`` (by e-mail address); the caller commits.

    Users who exist get their roles, scopes and password back, so it may run at every start. Answers the
    addresses that were added or changed. Raises ``ValueError`` for an address that is not of the seed. Not
    for production: it resets what an operator changed.
    """
    if strangers := sorted(credentials.keys() - DEVELOPMENT_USERS.keys()):
        raise ValueError(f"not users of the development seed: {', '.join(strangers)}")
    users = UserRepository(session)
    return [
        email
        for email, password in credentials.items()
        if await _seed_one(session, users, hasher, email, password)
    ]


async def seed_accounts(session: "AsyncSession", credentials: Mapping[str, str]) -> None:
    """``seed_development`` as the registry knows it, with a password hasher of its own."""
    hasher = PasswordHasher()
    try:
        await seed_development(session, hasher, credentials)
    finally:
        hasher.close()


async def _seed_one(
    session: "AsyncSession", users: UserRepository, hasher: PasswordHasher, email: str, password: str
) -> bool:
    profile = DEVELOPMENT_USERS[email]
    roles = sorted(known_roles if profile.roles is None else profile.roles)
    scopes = sorted(known_scopes if profile.scopes is None else profile.scopes)
    user = await users.get_by_email(email, for_update=True)
    if user is None:
        await create_user(session, hasher, email, password, roles=roles, scopes=scopes)
        return True
    keeps_password = await hasher.verify_async(password, user.password_hash)
    if keeps_password and (user.roles, user.scopes, user.is_active) == (roles, scopes, True):
        return False
    if not keeps_password:
        user.password_hash = await hasher.hash_async(password)
    user.roles, user.scopes, user.is_active = roles, scopes, True
    return True
