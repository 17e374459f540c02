"""What must be taken back, in memory, when what a session has written is: also when that is only back to a savepoint."""

from collections.abc import Callable

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

_WORK = "gatehouse_when_undone"


def when_undone(session: AsyncSession, work: Callable[[], object]) -> None:
    """Call ``work`` once if what the session has written up to now is rolled back: its transaction, or a savepoint that is open now.

    Never after the commit. ``work`` must not raise, wait or use the session. Nothing is called when the connection is lost or the session
    is dropped: not for what others rely on.
    """
    sync = session.sync_session
    open_now = sync.get_nested_transaction() or sync.get_transaction()
    if open_now is not None:
        sync.info.setdefault(_WORK, []).append((open_now, work))


@event.listens_for(Session, "after_soft_rollback")
def _undo(session: Session, undone: SessionTransaction) -> None:
    waiting = session.info.get(_WORK)
    if not waiting:
        return
    session.info[_WORK] = [one for one in waiting if not _is_within(one[0], undone)]
    for within, work in waiting:
        if _is_within(within, undone):
            work()


@event.listens_for(Session, "after_commit")
def _forget(session: Session) -> None:
    if _WORK in session.info and session.get_nested_transaction() is None:
        del session.info[_WORK]


def _is_within(inner: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while inner is not None:
        if inner is outer:
            return True
        inner = inner.parent
    return False
