"""What may only happen when a transaction is really there: telling others about it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

import structlog
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.core.db._errors import ReadOnlySession
from app.core.db._session_types import ReadSession
from app.core.errors import Unavailable

Work = Callable[[], Awaitable[object]]
_WORK = "gatehouse_after_commit"
_running: set[asyncio.Task[None]] = set()  # The loop itself keeps tasks only weakly.
_log = structlog.get_logger(__name__)


def after_commit(session: AsyncSession, work: Work) -> None:
    """Run ``work`` in a task of its own as soon as the session's transaction is committed, whoever commits it.

    After a rollback it does not run, unless the same session commits something later; so ``work`` should read what it tells. Nobody waits
    for it and its errors are logged: not for what must happen, a crash in between loses it. Raises ReadOnlySession for a session that
    only reads.
    """
    if isinstance(session, ReadSession):
        raise ReadOnlySession(
            "This session only reads, so nothing will be committed; ask for get_db to write"
        )
    session.sync_session.info.setdefault(_WORK, []).append(work)


async def after_commit_idle(limit_s: float = 5.0) -> None:
    """Wait until what is under way in this process is done, at most ``limit_s`` seconds; for a clean stop, before the pool closes."""
    if _running:
        _, late = await asyncio.wait(set(_running), timeout=limit_s)
        for task in late:
            task.cancel()


@event.listens_for(Session, "after_commit")
def _start(session: Session) -> None:
    if _WORK not in session.info or session.get_nested_transaction() is not None:
        return  # the end of a savepoint passes here too, and is no commit
    for work in session.info.pop(_WORK):
        # In a context of its own: the request may be over before it is done.
        task = asyncio.get_running_loop().create_task(_run(work), context=Context())
        _running.add(task)
        task.add_done_callback(_running.discard)


async def _run(work: Work) -> None:
    try:
        await work()
    except Unavailable as error:
        _log.warning("after_commit.failed", error=type(error).__name__, reason=str(error))
    except Exception:  # noqa: BLE001 - the outermost frame of a task that nobody waits for
        _log.exception("after_commit.failed")
