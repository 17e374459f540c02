"""What a caller does with his API keys."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from app.builtin.accounts.models import ApiKey, ApiKeySecret, User
from app.builtin.accounts.repository import ApiKeyRepository, UserRepository
from app.builtin.accounts.schemas import (
    ApiKeyCreated,
    ApiKeyOut,
    ApiKeyPage,
    ApiKeyQuery,
    ApiKeyRequest,
    ApiKeyRotation,
)
from app.builtin.accounts.service.api_key_rights import key_rights
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.scopes import InvalidScope
from app.builtin.accounts.service.sign_in import current_user
from app.core.context import Principal
from app.core.db import AsyncSession, after_commit
from app.core.errors import BadRequest, Conflict, EntityNotFoundError, PermissionDenied, Unprocessable
from app.core.policies import EpochBook
from app.core.resilience import Clock
from app.core.security import InvalidToken, api_key_hash, api_key_prefix, new_api_key


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRules:
    """``max_days``: so long does a key live at most; ``per_user``: so many good ones may a user have."""

    max_days: int = 365
    per_user: int = 50


class ApiKeyDesk:
    """Requests about the caller's own API keys, in the request's database session. The routes let in tokens only: no key makes another.

    Every method raises ``InvalidToken`` (401) for a caller who is no user, or no longer; those that end a secret raise StoreError (503)
    when the store does not answer, and nothing has ended then. A key of somebody else is one that does not exist (404).
    """

    def __init__(self, book: EpochBook, audit: AuditLog, rules: ApiKeyRules, clock: Clock) -> None:
        self._book = book
        self._audit = audit
        self._rules = rules
        self._clock = clock

    async def create(self, db: AsyncSession, caller: Principal, asked: ApiKeyRequest) -> ApiKeyCreated:
        """A new key. It gets nothing that the presented token does not carry, whatever else the user has.

        Raises ``InvalidScope`` or BadRequest (400) for other rights, Unprocessable (422) for an end that is past or too late, Conflict
        (409) when the user has as many keys as he may have.
        """
        user, now = await self._locked_user(db, caller), self._now()
        scopes, roles = _granted(asked, caller, user)
        rows = ApiKeyRepository(db)
        if await rows.count(user.id, now) >= self._rules.per_user:
            raise Conflict(f"A user has at most {self._rules.per_user} API keys; delete one first.")
        key = ApiKey(
            id=uuid7(),
            user_id=user.id,
            name=asked.name,
            scopes=scopes,
            roles=roles,
            networks=list(dict.fromkeys(asked.allowed_networks)),
            created_at=now,
            expires_at=self._end_of(asked.expires_at, now),
        )
        text, secret = _new_secret(key, now)
        await rows.add(key, secret)
        await self._audit.record(
            db, "api_key.created", user.id, api_key=str(key.id), name=key.name, scopes=scopes, roles=roles,
            allowed_networks=key.networks, expires_at=key.expires_at.isoformat(),
        )  # fmt: skip
        return ApiKeyCreated(**_shown(key, [secret]).model_dump(), key=text)

    async def page(self, db: AsyncSession, caller: Principal, query: ApiKeyQuery) -> ApiKeyPage:
        """The keys that were not deleted, newest first."""
        user = await current_user(UserRepository(db), caller)
        rows = ApiKeyRepository(db)
        found = await rows.page(user.id, before=query.cursor, most=query.limit + 1)
        items, more = found[: query.limit], len(found) > query.limit
        secrets = await rows.secrets([key.id for key in items], self._now())
        pairs = [(key, [one for one in secrets if one.key_id == key.id]) for key in items]
        return ApiKeyPage(
            # A key without a secret was ended between the two questions.
            items=[_shown(key, own) for key, own in pairs if own],
            next_cursor=items[-1].id if more else None,
        )

    async def get(self, db: AsyncSession, caller: Principal, key_id: UUID) -> ApiKeyOut:
        """One of the caller's keys. Raises EntityNotFoundError."""
        user = await current_user(UserRepository(db), caller)
        rows = ApiKeyRepository(db)
        key = _found(await rows.get(user.id, key_id))
        secrets = await rows.secrets([key.id], self._now())
        return _shown(_found(key if secrets else None), secrets)

    async def revoke(self, db: AsyncSession, caller: Principal, key_id: UUID) -> None:
        """End a key: it is refused with the next request, in every process. Raises EntityNotFoundError."""
        user = await current_user(UserRepository(db), caller)
        rows, now = ApiKeyRepository(db), self._now()
        key = _found(await rows.get(user.id, key_id, for_update=True))
        key.revoked_at = now
        await self._end(db, user.id, await rows.secrets([key.id], now), now)
        await self._audit.record(db, "api_key.revoked", user.id, api_key=str(key.id))

    async def rotate(
        self, db: AsyncSession, caller: Principal, key_id: UUID, asked: ApiKeyRotation
    ) -> ApiKeyCreated:
        """A new secret for the key; its last one is good for ``overlap_s`` more, one from before that ends now.

        Raises EntityNotFoundError, PermissionDenied (403) when the key may do more than the presented token, which would gain by it, and
        Conflict (409) for a key that has expired.
        """
        user, now = await self._locked_user(db, caller), self._now()
        rows = ApiKeyRepository(db)
        key = _found(await rows.get(user.id, key_id, for_update=True))
        if key.expires_at <= now:
            raise Conflict("This API key has expired; create another.")
        if not (
            key_rights(key.scopes, user.all_scopes) <= caller.scopes
            and key_rights(key.roles, user.roles) <= caller.roles
        ):
            raise PermissionDenied("This API key may do more than the presented token.")
        until = now + timedelta(seconds=asked.overlap_s)
        former = await rows.secrets([key.id], now)
        kept = former[:1] if asked.overlap_s else []
        for secret in kept:
            secret.expires_at = until
        await self._end(db, user.id, former[len(kept) :], now)
        text, secret = _new_secret(key, now)
        await rows.add(secret)
        await self._audit.record(
            db, "api_key.rotated", user.id, api_key=str(key.id), overlap_s=asked.overlap_s
        )
        return ApiKeyCreated(**_shown(key, [secret, *kept]).model_dump(), key=text)

    async def _locked_user(self, db: AsyncSession, caller: Principal) -> User:
        """The user, whose keys others cannot add to meanwhile."""
        users = UserRepository(db)
        user = await users.lock((await current_user(users, caller)).id)
        if user is None or not user.is_active:
            raise InvalidToken("sub")
        return user

    async def _end(
        self, db: AsyncSession, user_id: UUID, secrets: Sequence[ApiKeySecret], now: datetime
    ) -> None:
        """Before the commit, so that nobody is told that a key has ended which still works; and after it, see ``Revocation``."""
        account, names = str(user_id), [str(secret.id) for secret in secrets]
        for secret in secrets:
            secret.ended_at = now

        async def tell() -> None:
            await self._book.end_sessions(account, names)

        await tell()
        after_commit(db, tell)

    def _end_of(self, asked: datetime | None, now: datetime) -> datetime:
        latest = now + timedelta(days=self._rules.max_days)
        if asked is None:
            return latest
        if not now < asked <= latest:
            raise Unprocessable(
                f"expires_at must be in the future, at most {self._rules.max_days} days ahead."
            )
        return asked

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def _granted(asked: ApiKeyRequest, caller: Principal, user: User) -> tuple[list[str], list[str]]:
    if lacking := _beyond(asked.scopes, key_rights(caller.scopes, user.all_scopes)):
        raise InvalidScope(f"The presented token cannot give these scopes: {lacking}.")
    if lacking := _beyond(asked.roles, key_rights(caller.roles, user.roles)):
        raise BadRequest(f"The presented token cannot give these roles: {lacking}.")
    return sorted(set(asked.scopes)), sorted(set(asked.roles))


def _beyond(asked: Iterable[str], held: frozenset[str]) -> str:
    return ", ".join(repr(name) for name in sorted(set(asked) - held))


def _new_secret(key: ApiKey, now: datetime) -> tuple[str, ApiKeySecret]:
    secret_id = uuid7()
    text = new_api_key(key.user_id, secret_id)
    return text, ApiKeySecret(
        id=secret_id, key_id=key.id, hash=api_key_hash(text), last_four=text[-4:], created_at=now
    )


def _found(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise EntityNotFoundError("The caller has no such API key.")
    return key


def _shown(key: ApiKey, secrets: Sequence[ApiKeySecret]) -> ApiKeyOut:
    """``secrets``: the good ones, newest first."""
    newest = secrets[0]
    return ApiKeyOut(
        id=key.id,
        name=key.name,
        prefix=api_key_prefix(key.user_id, newest.id),
        last_four=newest.last_four,
        scopes=key.scopes,
        roles=key.roles,
        allowed_networks=key.networks,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        old_secret_until=secrets[1].expires_at if len(secrets) > 1 else None,
    )
