"""One attempt at a request's work on its sessions: undone when it fails, so that another may start from the same place."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction
from sqlalchemy.orm import Session, SessionTransaction

from app.core.db._errors import DatabaseUnavailable, SerializationFailure, translate
from app.core.db._finish import uninterrupted
from app.core.db._sealed import RequestSession

_COMMITS = "gatehouse_commits"


class _Point(NamedTuple):
    """Where one session stood when the attempt began: ``root`` is its transaction, None if it had none."""

    session: AsyncSession
    root: SessionTransaction | None
    nested: AsyncSessionTransaction | None
    commits: int


class Savepoint:
    """``async with Savepoint(sessions) as point:`` around an attempt; ``point.is_repeatable`` tells after a failure.

    A session in a transaction gets a savepoint and is rolled back to it; one that began in the attempt is rolled back whole; one that
    nobody uses costs nothing. Not repeatable: the handler committed or rolled back by itself, the connection is broken, or PostgreSQL
    refused the transaction as a whole (SQLSTATE 40001, 40P01), which only a new transaction can mend.
    """

    def __init__(self, sessions: Sequence[AsyncSession]) -> None:
        self._sessions = sessions
        self._points: list[_Point] = []
        self.is_repeatable = True

    async def __aenter__(self) -> Self:
        for session in self._sessions:
            root = session.sync_session.get_transaction()
            nested = await session.begin_nested() if root is not None else None
            self._points.append(_Point(session, root, nested, commits_of(session)))
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                await self._release()
            except BaseException as refusal:
                await self._undo_shielded(refusal)
                raise
        else:
            await self._undo_shielded(error)

    async def _release(self) -> None:
        """Keep what the attempt did as a part of the request's transaction."""
        for point in self._points:
            if point.nested is not None and point.nested.is_active:
                await point.nested.commit()

    async def _undo_shielded(self, error: BaseException) -> None:
        self.is_repeatable = await uninterrupted(self._undo(error))

    async def _undo(self, error: BaseException) -> bool:
        # Sessions that were opened in the attempt had no transaction before it.
        opened = [_Point(session, None, None, 0) for session in self._sessions[len(self._points) :]]
        used = [
            point
            for point in (*self._points, *opened)
            if point.root is not None or point.session.in_transaction() or commits_of(point.session)
        ]
        is_undone = True
        for point in reversed(used):
            try:
                is_undone = await _undo_one(point) and is_undone
            except (SQLAlchemyError, OSError):
                is_undone = False
        return is_undone and not (used and _has_spoilt_the_transaction(error))


async def _undo_one(point: _Point) -> bool:
    """Whether the session is now as it was."""
    session = point.session
    if commits_of(session) != point.commits:
        return False
    if point.root is None:
        if session.in_transaction():
            await session.rollback()
        return True
    if session.sync_session.get_transaction() is not point.root:
        return False
    if point.nested is not None and point.nested.sync_transaction is not None:
        await point.nested.rollback()
    return not (await session.connection()).invalidated


def _has_spoilt_the_transaction(error: BaseException) -> bool:
    known = translate(error) if isinstance(error, SQLAlchemyError) else error
    return isinstance(known, (SerializationFailure, DatabaseUnavailable))


def commits_of(session: AsyncSession) -> int:
    """How often the session was committed."""
    count: Any = session.info.get(_COMMITS, 0)
    return int(count)


@event.listens_for(RequestSession, "after_commit")
def _count_commit(session: Session) -> None:
    # The release of a savepoint passes here too, and commits nothing.
    if session.get_nested_transaction() is None:
        session.info[_COMMITS] = session.info.get(_COMMITS, 0) + 1
