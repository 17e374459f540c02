"""Results of idempotent requests, kept in the transaction that did the work (``durability="db"``).

The row and the work's own rows are committed together, so a request that is sent again finds either both or neither. Times are the
server's. A session of the request writes the row; nothing here commits.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    CheckConstraint,
    CursorResult,
    Index,
    Interval,
    LargeBinary,
    bindparam,
    delete,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db._errors import translate_errors
from app.core.db._models import Base

LONGEST_KEY = 200


class IdempotencyResult(Base):
    """One kept result. ``key`` names partition, policy and the caller's key (hashed): whoever calls has scoped it already."""

    __tablename__ = "idempotency_results"
    __table_args__ = (
        CheckConstraint(f"char_length(key) <= {LONGEST_KEY}", name="key_is_short"),
        Index("ix_idempotency_results_expires_at", "expires_at"),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    result: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class StoredResult(NamedTuple):
    """What a request under this key was, and what it was answered."""

    fingerprint: str
    result: bytes


_row = IdempotencyResult
_FIND = select(_row.fingerprint, _row.result).where(
    _row.key == bindparam("key"), _row.expires_at > func.now()
)
_INSERT = insert(_row).values(
    key=bindparam("key"),
    fingerprint=bindparam("fingerprint"),
    result=bindparam("result"),
    expires_at=func.now() + bindparam("retention", type_=Interval()),
)
# One statement, so that of two transactions the second waits for the first and then sees its row. An expired row is as good as none.
_KEEP = _INSERT.on_conflict_do_update(
    index_elements=[_row.key],
    set_={name: _INSERT.excluded[name] for name in ("fingerprint", "result", "created_at", "expires_at")},
    where=_row.expires_at <= func.now(),
).returning(_row.key)
_EXPIRED = (
    select(_row.key)
    .where(_row.expires_at <= func.now())
    .order_by(_row.expires_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_PURGE = delete(_row).where(_row.key.in_(_EXPIRED))


async def find_result(session: AsyncSession, key: str) -> StoredResult | None:
    """What is kept under ``key``, or None when nothing is, or it has expired. Raises our database errors."""
    with translate_errors():
        row = (await session.execute(_FIND, {"key": key})).one_or_none()
    return StoredResult(row.fingerprint, row.result) if row is not None else None


async def keep_result(
    session: AsyncSession, key: str, fingerprint: str, result: bytes, retention_s: float
) -> bool:
    """Put the result into the session's transaction, for ``retention_s`` seconds from the transaction's start.

    False when another request's row is there: then this transaction must be rolled back, because the work was done before. While
    another transaction that writes the same key is open, this waits for its end, within the statement timeout. Raises ValueError for a
    key of more than 200 characters, and our database errors.
    """
    if len(key) > LONGEST_KEY:
        raise ValueError(f"An idempotency result's key has at most {LONGEST_KEY} characters, not {len(key)}")
    values = {
        "key": key, "fingerprint": fingerprint, "result": result, "retention": timedelta(seconds=retention_s)
    }  # fmt: skip
    with translate_errors():
        return (await session.execute(_KEEP, values)).one_or_none() is not None


async def purge_results(session: AsyncSession, limit: int = 1000) -> int:
    """Delete up to ``limit`` expired results, oldest first; how many went. Several may purge at once. The caller commits."""
    with translate_errors():
        done = await session.execute(
            _PURGE, {"most": limit}, execution_options={"synchronize_session": False}
        )
    return cast("CursorResult[Any]", done).rowcount
