"""The end of a session: quiet, whatever became of its connection, and whoever is cancelled meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import IllegalStateChangeError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._errors import DRIVER_ERRORS, DatabaseError

T = TypeVar("T")
_ASK_AGAIN_S = 0.01
_GIVE_UP_S = 60.0
_log = structlog.get_logger(__name__)


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``, which goes on to its end even if the caller is cancelled meanwhile.

    For a ROLLBACK: the cancellation that led to it may be followed by another, which must not leave the connection in the middle of it.
    """
    return await asyncio.shield(asyncio.ensure_future(work))


async def finish(session: AsyncSession, *, close: bool) -> None:
    """End a session. One that never spoke to the database is ended without a task, a switch or an await."""
    if not session.in_transaction():
        if close:
            session.sync_session.close()
        return
    await uninterrupted(_end(session, close=close))


async def _end(session: AsyncSession, *, close: bool) -> None:
    try:
        await _once_nobody_uses(session, close=close)
    except (SQLAlchemyError, *DRIVER_ERRORS, OSError, DatabaseError) as error:
        # The connection is broken: the server rolls back by itself, the pool must not get it back, and the
        # caller shall see the error that brought us here, not this one.
        session.sync_session.invalidate()
        _log.info("session.connection_lost", error=type(error).__name__)


async def _once_nobody_uses(session: AsyncSession, *, close: bool) -> None:
    """End it when no other task is in the middle of taking its connection, writing or committing.

    Whoever gives one session to several tasks (``asyncio.gather``) gets an error in one of them while another goes on. Left to itself that
    one would keep its connection for good.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + _GIVE_UP_S
    while True:
        try:
            return await (session.close() if close else session.rollback())
        except IllegalStateChangeError:
            if loop.time() >= end:
                raise
        await asyncio.sleep(_ASK_AGAIN_S)
