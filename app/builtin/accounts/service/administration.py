"""What an operator does with users; the command line parses and prints, and calls these."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from email_validator import EmailNotValidError, validate_email

from app.builtin.accounts.models import User
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.schemas import MAX_PASSWORD
from app.builtin.accounts.service.rights import refuse_too_many
from app.core.errors import EntityNotFoundError, Unprocessable
from app.core.security import PasswordHasher, known_roles, known_scopes, unknown_roles, unknown_scopes

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

MIN_PASSWORD = 8


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


async def create_user(
    session: "AsyncSession",
    hasher: PasswordHasher,
    email: str,
    password: str,
    *,
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
) -> User:
    """Add a user; the caller commits. The password has 8 to 128 characters.

    Raises ``Unprocessable`` for a bad address, password, role or scope, for more of these than a token carries, and ``EmailTaken`` (409).
    """
    roles, scopes = sorted(set(roles)), sorted(set(scopes))
    _check_known(roles, scopes)
    refuse_too_many(roles, scopes)
    _check_password(password)
    user = User(
        email=_checked_email(email),
        password_hash=await hasher.hash_async(password),
        roles=roles,
        scopes=scopes,
    )
    return await UserRepository(session).add(user)


async def grant(
    session: "AsyncSession", email: str, *, roles: Iterable[str] = (), scopes: Iterable[str] = ()
) -> User:
    """Add roles and scopes to those that the user has; the caller commits. Tokens that are out keep what they carry.

    Raises ``EntityNotFoundError`` for an unknown address and ``Unprocessable`` for an unknown role or scope and for more than a token
    carries.
    """
    roles, scopes = set(roles), set(scopes)
    _check_known(roles, scopes)
    user = await UserRepository(session).get_by_email(email, for_update=True)
    if user is None:
        raise EntityNotFoundError("There is no user with this e-mail address.")
    roles, scopes = roles.union(user.roles), scopes.union(user.scopes)
    refuse_too_many(roles, scopes)
    user.roles, user.scopes = sorted(roles), sorted(scopes)
    return user


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


def _check_known(roles: Iterable[str], scopes: Iterable[str]) -> None:
    for kind, names in (("role", unknown_roles(roles)), ("scope", unknown_scopes(scopes))):
        if names:
            raise Unprocessable(f"No {kind} has the name {', '.join(repr(name[:64]) for name in names)}.")


def _check_password(password: str) -> None:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise Unprocessable(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.")
    try:
        password.encode()
    except UnicodeEncodeError as exc:
        raise Unprocessable("A password is Unicode text.") from exc


def _checked_email(email: str) -> str:
    """The address as given, without surrounding space. A name without dots is a domain; reserved ones are not."""
    stripped = email.strip()
    try:
        validate_email(stripped, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as exc:
        raise Unprocessable("This is not an e-mail address.") from exc
    return stripped
