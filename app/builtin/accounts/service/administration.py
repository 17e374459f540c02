"""What administrators and operators do with accounts; routes and the command line parse and show, and call these."""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from app.builtin.accounts.models import User
from app.builtin.accounts.repository import EmailTokenRepository, UserRepository
from app.builtin.accounts.schemas import UserOut, UserPage, UserQuery
from app.builtin.accounts.service.addresses import checked_email
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.granting import (
    ADMIN,
    LastAdministrator,
    OwnAccount,
    check_may_give,
)
from app.builtin.accounts.service.passwords import check_password
from app.builtin.accounts.service.revocation import Revocation
from app.builtin.accounts.service.rights import refuse_too_many
from app.core.context import Principal
from app.core.errors import EntityNotFoundError, Unprocessable
from app.core.security import PasswordHasher, unknown_roles, unknown_scopes

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


async def create_user(
    session: "AsyncSession",
    hasher: PasswordHasher,
    email: str,
    password: str,
    *,
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
) -> User:
    """Add a user; the caller commits. The password keeps the rules of ``check_password``.

    Raises ``Unprocessable`` for a bad address, password, role or scope, for more of these than a token carries, and ``EmailTaken`` (409).
    """
    roles, scopes = sorted(set(roles)), sorted(set(scopes))
    _check_known(roles, scopes)
    address = checked_email(email)
    check_password(password, email=address)
    user = User(
        email=address,
        password_hash=await hasher.hash_async(password),
        roles=roles,
        scopes=scopes,
    )
    refuse_too_many(user.roles, user.all_scopes)
    return await UserRepository(session).add(user)


class Administration:
    """Accounts in the hands of others than their owners, in a database session that the caller commits.

    ``by`` is the caller of the request. He gives no right that he does not have himself, does not shut himself out, and leaves one active
    administrator. None is an operator at the command line, whom nothing of that binds. Every change is recorded, ends what it must end,
    and is one of these or nothing: an account that is already as it should be is left alone.

    Every method raises ``EntityNotFoundError`` (404) for an unknown user; those that end tokens raise StoreError (503) when the store does
    not answer, and the caller must then roll back.
    """

    def __init__(self, revocation: Revocation, passwords: PasswordHasher, audit: AuditLog) -> None:
        self._revocation = revocation
        self._passwords = passwords
        self._audit = audit

    async def get(self, db: "AsyncSession", user_id: UUID) -> User:
        """The user with this id."""
        return _found(await UserRepository(db).get(user_id))

    async def page(self, db: "AsyncSession", query: UserQuery) -> UserPage:
        """Users, newest first."""
        found = await UserRepository(db).page(
            email=query.email,
            role=query.role,
            is_active=query.is_active,
            before=query.cursor,
            most=query.limit + 1,
        )
        items, more = found[: query.limit], len(found) > query.limit
        return UserPage(items=[user_out(user) for user in items], next_cursor=items[-1].id if more else None)

    async def create(
        self,
        db: "AsyncSession",
        email: str,
        password: str,
        *,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        by: Principal | None,
    ) -> User:
        """Add a user. Raises as ``create_user`` and ``give``."""
        roles, scopes = set(roles), set(scopes)
        _check_known(roles, scopes)
        check_may_give(by, roles, scopes)
        user = await create_user(db, self._passwords, email, password, roles=roles, scopes=scopes)
        await self._audit.record(db, "user.created", user.id, roles=user.roles, scopes=user.scopes)
        return user

    async def give(
        self,
        db: "AsyncSession",
        user_id: UUID,
        *,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        by: Principal | None,
    ) -> User:
        """Add roles and scopes to those that the user has, and end his access tokens.

        Raises ``Unprocessable`` (422) for an unknown role or scope, and ``RightsNotHeld`` (403).
        """
        roles, scopes = set(roles), set(scopes)
        user = _found(await UserRepository(db).lock(user_id))
        _check_known(roles, scopes)
        check_may_give(by, roles, scopes)
        new_roles, new_scopes = sorted(roles.difference(user.roles)), sorted(scopes.difference(user.scopes))
        if new_roles or new_scopes:
            user.roles, user.scopes = sorted([*user.roles, *new_roles]), sorted([*user.scopes, *new_scopes])
            refuse_too_many(user.roles, user.all_scopes)
            await self._audit.record(db, "rights.granted", user.id, roles=new_roles, scopes=new_scopes)
            await self._revocation.end_tokens(db, user.id)
            await UserRepository(db).refresh(user)
        return user

    async def take(
        self,
        db: "AsyncSession",
        user_id: UUID,
        *,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        by: Principal | None,
    ) -> User:
        """Take roles and scopes from the user, also such as nobody knows any more, and end his access tokens.

        Raises ``OwnAccount`` and ``LastAdministrator`` (409) for the role of an administrator.
        """
        roles, scopes = set(roles), set(scopes)
        user = await self._spared(db, user_id, by) if ADMIN in roles else None
        user = user or _found(await UserRepository(db).lock(user_id))
        lost_roles, lost_scopes = (
            sorted(roles.intersection(user.roles)),
            sorted(scopes.intersection(user.scopes)),
        )
        if lost_roles or lost_scopes:
            user.roles, user.scopes = sorted(set(user.roles) - roles), sorted(set(user.scopes) - scopes)
            await self._audit.record(db, "rights.revoked", user.id, roles=lost_roles, scopes=lost_scopes)
            await self._revocation.end_tokens(db, user.id)
            await UserRepository(db).refresh(user)
        return user

    async def disable(self, db: "AsyncSession", user_id: UUID, *, by: Principal | None) -> User:
        """The user cannot sign in; all his sessions end, and links that he was sent.

        Raises ``OwnAccount`` and ``LastAdministrator`` (409).
        """
        user = await self._spared(db, user_id, by)
        if user.is_active:
            user.is_active = False
            await EmailTokenRepository(db).forget(user.id)
            await self._audit.record(db, "user.disabled", user.id)
            await self._revocation.end_all_sessions(db, user.id, "inactive")
            await UserRepository(db).refresh(user)
        return user

    async def enable(self, db: "AsyncSession", user_id: UUID, *, by: Principal | None) -> User:
        """The user can sign in again, with all rights that he had; so ``by`` must have them: ``RightsNotHeld`` (403)."""
        user = _found(await UserRepository(db).lock(user_id))
        if not user.is_active:
            check_may_give(by, user.roles, user.all_scopes)
            user.is_active = True
            await self._audit.record(db, "user.enabled", user.id)
            await UserRepository(db).refresh(user)
        return user

    async def sign_out(self, db: "AsyncSession", user_id: UUID) -> int:
        """End all sessions of the user and all his access tokens; how many sessions."""
        user = _found(await UserRepository(db).lock(user_id))
        ended = await self._revocation.end_all_sessions(db, user.id, "signed_out")
        await self._audit.record(db, "user.signed_out", user.id, sessions=ended)
        return ended

    async def delete(self, db: "AsyncSession", user_id: UUID, *, by: Principal | None) -> None:
        """Delete the user and all that belongs to him; his sessions and tokens end. Raises ``OwnAccount`` and ``LastAdministrator`` (409).

        What was recorded of him stays, and so does his id among the deleted ones.
        """
        user = await self._spared(db, user_id, by)
        await self._audit.record(db, "user.deleted", user.id, roles=user.roles, scopes=user.scopes)
        await self._revocation.end_all_sessions(db, user.id, "deleted")
        await UserRepository(db).delete(user)

    async def _spared(self, db: "AsyncSession", user_id: UUID, by: Principal | None) -> User:
        """The user, locked, from whom ``by`` may take what an administrator needs."""
        users = UserRepository(db)
        if by is not None:
            if by.id == str(user_id):
                raise OwnAccount
            # Two who take each other out at once must not both find the other still there.
            await users.queue_for(ADMIN)
        user = _found(await users.lock(user_id))
        is_administrator = user.is_active and ADMIN in user.roles
        if by is not None and is_administrator and not await users.has_another(ADMIN, user.id):
            raise LastAdministrator
        return user


def user_out(user: User) -> UserOut:
    """The user as administrators see him."""
    return UserOut(
        id=user.id,
        email=user.email,
        is_active=user.is_active,
        roles=sorted(user.roles),
        scopes=sorted(user.scopes),
        all_scopes=sorted(user.all_scopes),
        created_at=user.created_at,
        updated_at=user.updated_at,
    )


def _found(user: User | None) -> User:
    if user is None:
        raise EntityNotFoundError("There is no such user.")
    return user


def _check_known(roles: Iterable[str], scopes: Iterable[str]) -> None:
    for kind, names in (("role", unknown_roles(roles)), ("scope", unknown_scopes(scopes))):
        if names:
            raise Unprocessable(f"No {kind} has the name {', '.join(repr(name[:64]) for name in names)}.")
