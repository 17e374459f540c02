"""What transactions have written, told to the cache when they are committed."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, ExecutionContext
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util.concurrency import await_only, in_greenlet

from app.core.db._query_footprint import footprint
from app.core.db._query_reading import current_reading
from app.core.valkey import configured_cache

_NOTES = "gatehouse_notes"
_GUEST = "gatehouse_guest"
_COMMIT = re.compile(r"\s*(?:commit|end)\b", re.IGNORECASE)
_SNAPSHOTS = {"REPEATABLE READ", "SERIALIZABLE"}
_ending: set[asyncio.Task[None]] = set()  # The loop itself keeps tasks only weakly.


@dataclass(slots=True, eq=False)
class Notes:
    """One transaction on one connection."""

    ends: set[str] = field(default_factory=set)
    is_snapshot: bool = False
    is_committing: bool = False


def notes_of(session: Session) -> list[Notes]:
    """Those of the session's present transaction; empty before its first statement."""
    found: list[Notes] = session.info.get(_NOTES, [])
    return found


def guest_info() -> dict[str, Any]:
    """``info`` for a session that works in another one's transaction, whose notes go on."""
    return {_GUEST: True}


def forget_notes(info: dict[str, Any]) -> None:
    """Those of whoever had the connection before: what is there outlives a transaction, and a bare connection begins none of ours."""
    info.pop(_NOTES, None)


def install_notes(engine: Engine) -> None:
    """Look at every statement of ``engine``, and at every COMMIT before it is sent."""
    event.listen(engine, "before_cursor_execute", _note)
    event.listen(engine, "commit", _note_commit)


def _note(
    connection: Connection,
    _cursor: Any,
    sql: str,
    _parameters: Any,
    context: ExecutionContext | None,
    _many: bool,
) -> None:
    mark = footprint(sql, getattr(context, "compiled", None))
    notes: Notes | None = connection.info.get(_NOTES)
    if notes is not None:
        notes.ends |= mark.writes
        notes.is_snapshot |= mark.is_snapshot
        notes.is_committing = notes.is_committing or (not mark.is_known and _COMMIT.match(sql) is not None)
    seen = current_reading()
    if seen is not None:
        seen.add(mark, is_snapshot=notes.is_snapshot if notes is not None else _is_snapshot(connection))


def _is_snapshot(connection: Connection) -> bool:
    options = connection.get_execution_options()
    isolation = options.get("isolation_level") or connection.default_isolation_level
    return isolation in _SNAPSHOTS or is_elsewhere(options)


def is_elsewhere(options: Mapping[str, Any]) -> bool:
    """Whether execution options lead statements to tables of other schemas than they name."""
    return bool(options.get("schema_translate_map"))


def _note_commit(connection: Connection) -> None:
    if not connection.invalidated and (notes := connection.info.get(_NOTES)) is not None:
        notes.is_committing = True


@event.listens_for(Session, "after_begin")
def _begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    if transaction.nested or _GUEST in session.info:
        return
    notes = connection.info[_NOTES] = Notes(
        is_snapshot=_is_snapshot(connection),
        # Each statement is committed by itself, whatever becomes of what SQLAlchemy calls the transaction.
        is_committing=connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT",
    )
    session.info.setdefault(_NOTES, []).append(notes)


@event.listens_for(Session, "after_transaction_end")
def _end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is not None or _NOTES not in session.info:
        return
    # A COMMIT that was sent and not answered may have been done: then it is better to end too much.
    ends = {tag for notes in session.info.pop(_NOTES) if notes.is_committing for tag in notes.ends}
    if ends:
        _tell(ends)


def _tell(tags: set[str]) -> None:
    """End the tags before the commit returns, so that who has committed never reads what was there before."""
    task = end_written(tags)
    if task is not None and in_greenlet():
        await_only(asyncio.shield(task))


def end_written(tags: Iterable[str]) -> asyncio.Task[None] | None:
    """End the tags of what was written, in a task that is done when they have ended; None when there is nothing to do."""
    cache, wanted = configured_cache(), sorted(tags)
    if cache is None or not wanted:
        return None
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # A plain session outside any loop: the cache belongs to a loop.
        return None
    # A task, because a caller that is cancelled now has committed all the same.
    task = loop.create_task(cache.end_tags(*wanted), context=Context())
    _ending.add(task)
    task.add_done_callback(_ending.discard)
    return task
