"""Reads and writes API keys and their secrets."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import ApiKey, ApiKeySecret
from app.core.db import Database, translate_errors

_FIND = """
SELECT s.hash, k.id, k.user_id, CAST(extract(epoch FROM least(k.expires_at, s.expires_at)) AS double precision),
    k.scopes, k.roles, k.networks, u.scopes, u.roles,
    CAST(coalesce(round(extract(epoch FROM u.tokens_since) * 1000), 0) AS bigint)
FROM api_key_secrets s JOIN api_keys k ON k.id = s.key_id JOIN users u ON u.id = k.user_id
WHERE s.id = $1 AND s.ended_at IS NULL AND k.revoked_at IS NULL AND u.is_active
"""
_USED = """
UPDATE api_keys SET last_used_at = n.at
FROM unnest(CAST($1 AS uuid[]), CAST($2 AS timestamptz[])) AS n(id, at)
WHERE api_keys.id = n.id AND (last_used_at IS NULL OR last_used_at <= n.at - interval '1 minute')
"""


class FoundKey(NamedTuple):
    """A secret that has not ended, with its key and its owner, all read at one time. ``expires_at`` is in seconds."""

    hash: bytes
    key_id: UUID
    user_id: UUID
    expires_at: float
    scopes: list[str]
    roles: list[str]
    networks: list[str]
    owner_scopes: list[str]
    owner_roles: list[str]
    tokens_since_ms: int


async def find_key(database: Database, secret_id: UUID) -> FoundKey | None:
    """By the id in its text; None when secret or key has ended, or the owner is gone or inactive. Raises a DatabaseError (503)."""
    rows = await database.fetch(_FIND, secret_id)
    return FoundKey(*rows[0]) if rows else None


async def write_uses(database: Database, used: Mapping[UUID, datetime]) -> None:
    """When these keys were last used, unless something from the minute before stands there. Raises a DatabaseError (503)."""
    await database.fetch(_USED, list(used), list(used.values()))


class ApiKeyRepository:
    """API keys in one database session. Nothing is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, *rows: ApiKey | ApiKeySecret) -> None:
        """Insert, in this order."""
        with translate_errors():
            for row in rows:
                self._session.add(row)
                await self._session.flush()

    async def count(self, user_id: UUID, now: datetime) -> int:
        """How many of the user's keys are good."""
        query = select(func.count()).where(
            ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None), ApiKey.expires_at > now
        )
        with translate_errors():
            return await self._session.scalar(query) or 0

    async def get(self, user_id: UUID, key_id: UUID, *, for_update: bool = False) -> ApiKey | None:
        """The user's key, unless it was revoked; ``for_update`` makes other writers wait until we are done."""
        query = select(ApiKey).where(
            ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None)
        )
        if for_update:
            query = query.with_for_update().execution_options(populate_existing=True)
        with translate_errors():
            return await self._session.scalar(query)

    async def page(self, user_id: UUID, *, before: UUID | None, most: int) -> Sequence[ApiKey]:
        """The user's keys that were not revoked, newest first; those that were made before the key ``before``."""
        query = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        if before is not None:
            query = query.where(ApiKey.id < before)
        with translate_errors():
            return (await self._session.scalars(query.order_by(ApiKey.id.desc()).limit(most))).all()

    async def secrets(self, key_ids: Sequence[UUID], now: datetime) -> Sequence[ApiKeySecret]:
        """The good secrets of these keys, newest first."""
        query = select(ApiKeySecret).where(
            ApiKeySecret.key_id.in_(key_ids),
            ApiKeySecret.ended_at.is_(None),
            or_(ApiKeySecret.expires_at.is_(None), ApiKeySecret.expires_at > now),
        )
        with translate_errors():
            return (await self._session.scalars(query.order_by(ApiKeySecret.id.desc()))).all()

    async def purge(self, *, keys_before: datetime, secrets_before: datetime, most: int) -> int:
        """Delete keys that have been over since before then, at most ``most``, and secrets that were replaced; how many keys."""
        over = or_(ApiKey.revoked_at < keys_before, ApiKey.expires_at < keys_before)
        old = select(ApiKey.id).where(over).limit(most).with_for_update(skip_locked=True)
        replaced = or_(ApiKeySecret.ended_at < secrets_before, ApiKeySecret.expires_at < secrets_before)
        with translate_errors():
            gone = await self._session.scalars(delete(ApiKey).where(ApiKey.id.in_(old)).returning(ApiKey.id))
            count = len(gone.all())
            await self._session.execute(delete(ApiKeySecret).where(replaced))
            return count
