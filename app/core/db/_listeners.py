"""What we hang onto an engine.

Errors that would pass unseen, connections that died in the pool, one event per statement.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from time import perf_counter
from typing import Any

import asyncpg
import structlog
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, ExceptionContext, ExecutionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from app.core.db._errors import DatabaseFault, is_in_use, translate, translate_commit
from app.core.db._may_repeat import MAY_REPEAT
from app.core.db._query_notes import forget_notes, install_notes
from app.core.observability import DatabaseEvent, EventHub

_log = structlog.get_logger(__name__)
_ABORTED = "gatehouse_aborted"
_COMMITTING = "gatehouse_committing"
# The driver refused a lone statement's values: the server still waits for them, with the statement's locks, and no ROLLBACK will follow.
_WAITED_FOR = "gatehouse_waited_for"
# What statements may begin with as a label of metrics; anything else is "other", so that labels stay few.
_KNOWN = frozenset({
    "select", "insert", "update", "delete", "merge", "with", "values", "set", "show", "call", "copy", "lock", "create",
    "alter", "drop", "truncate", "explain", "analyze", "vacuum", "commit", "rollback", "savepoint",
})  # fmt: skip


def install_listeners(engine: Engine, hub: EventHub | None) -> None:
    """Attach everything; statement timing only when somebody listens."""
    event.listen(engine, "checkout", _refuse_dead_connection)
    event.listen(engine, "checkin", _give_up_open_transaction)
    event.listen(engine, "handle_error", _note_error)
    event.listen(engine, "commit", _refuse_silent_rollback)
    event.listen(engine, "rollback", _forget)
    event.listen(engine, "rollback_savepoint", _forget)
    install_notes(engine)
    if hub is not None:
        StatementTiming(hub).install(engine)


def _refuse_dead_connection(
    connection: Any, entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Look whether the driver saw the server close the connection, and have the pool make a new one.

    This replaces ``pool_pre_ping``: a restarted or failed-over server closes its sockets, the driver notices
    without being asked, and looking costs no round trip. Only a server that vanished without a word is found
    later, by the statement that times out, and there a ping would have hung as well.
    """
    entry.info.pop(_ABORTED, None)
    entry.info.pop(_COMMITTING, None)
    forget_notes(entry.info)
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _give_up_open_transaction(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Close a connection that comes back with a transaction, instead of handing that to whoever asks next.

    The driver refuses a COMMIT or ROLLBACK while another task uses the connection, and SQLAlchemy takes the
    transaction for ended all the same. Likewise one on which the server waits for a statement's values.
    """
    if connection is None:
        return
    if connection.driver_connection.is_in_transaction():
        _log.warning("connection.given_up", reason="it came back in the middle of a transaction")
        entry.invalidate()
    elif entry.info.pop(_WAITED_FOR, False):
        entry.invalidate()


def _note_error(context: ExceptionContext) -> BaseException | None:
    error = context.original_exception
    if _ends_connection(error):
        # The driver may still hold it for open: the server's goodbye arrives before the socket's end.
        context.is_disconnect = True
    if context.statement is None and is_in_use(error):
        # A COMMIT or ROLLBACK that was not sent: there is no other way to end this transaction. The other connections are well.
        context.is_disconnect, context.invalidate_pool_on_disconnect = True, False
        _cut(context.connection)
    if isinstance(error, Exception) and _was_committing(context) and (unknown := translate_commit(error)):
        return unknown
    if isinstance(error, OSError):
        # Includes TimeoutError. Not a driver error, so SQLAlchemy would let it through bare.
        return translate(error)
    # Only what the server refused spoils the transaction; the driver's own refusals never reached the server.
    refused = getattr(getattr(error, "driver_exception", None), "severity", None) is not None
    connection = context.connection
    if connection is None or connection.invalidated or context.is_disconnect:
        return None
    if refused:
        connection.info[_ABORTED] = True
    elif context.statement is not None and _is_alone(connection):
        connection.info[_WAITED_FOR] = True
    return None


def _is_alone(connection: Connection) -> bool:
    """Whether each of its statements is a transaction of its own."""
    return bool(connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT")


def _cut(connection: Connection | None) -> None:
    """Close the socket. SQLAlchemy would ask the driver to close the connection, which it refuses while that is used, and drop it open."""
    if connection is None or connection.invalidated:
        return
    driver: Any = connection.connection.driver_connection
    if driver is not None:
        driver.terminate()


def _ends_connection(error: BaseException) -> bool:
    driver = getattr(error, "driver_exception", None)
    if getattr(driver, "severity_en", None) in {"FATAL", "PANIC"}:
        return True
    return isinstance(driver, asyncpg.InternalClientError)  # It lost its place in the protocol.


def _was_committing(context: ExceptionContext) -> bool:
    connection = context.connection
    # A ROLLBACK has no statement either, but ``_forget`` goes before it.
    if context.statement is not None or connection is None or connection.invalidated:
        return False
    return connection.info.pop(_COMMITTING, False) is True


def _refuse_silent_rollback(connection: Connection) -> None:
    """PostgreSQL answers COMMIT in a failed transaction with a quiet ROLLBACK, and the driver does not tell.

    A handler that swallowed a statement's error would answer 200 with nothing written. Errors inside a
    savepoint are fine: rolling back to it makes the transaction whole again.
    """
    if connection.invalidated:
        return
    if connection.info.pop(_ABORTED, False):
        # By now SQLAlchemy holds the transaction for finished: nobody else would roll it back.
        connection.connection.rollback()
        raise DatabaseFault(
            "A statement of this transaction failed, so nothing was kept; put what may fail in begin_nested()"
        )
    connection.info[_COMMITTING] = True


def _forget(connection: Connection, *_savepoint: object) -> None:
    if not connection.invalidated:  # A broken connection has no info any more, and asking for it raises.
        connection.info.pop(_ABORTED, None)
        connection.info.pop(_COMMITTING, None)


@lru_cache(maxsize=1024)
def _operation(statement: str) -> str:
    word = (statement.split(None, 1) or [""])[0].lower()
    return word if word in _KNOWN else "other"


@contextmanager
def timed(statement: str, values: object, hub: EventHub | None) -> Iterator[None]:
    """Emit the event of a statement that the block sends past the engine's listeners."""
    started, refused = perf_counter(), None
    try:
        yield
    except BaseException as error:
        refused = _name_of(error)
        raise
    finally:
        if hub is not None:
            passed = perf_counter() - started
            hub.emit(DatabaseEvent(_operation(statement), passed, refused, statement, values))


def _name_of(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or type(error).__name__


class StatementTiming:
    """Emits one ``DatabaseEvent`` per statement of the engines that it is installed on, also for those that fail.

    A ``Database`` that was given a hub has it already; twice on one engine would count twice.
    """

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub

    def install(self, engine: Engine) -> None:
        """From the next statement on."""
        event.listen(engine, "before_cursor_execute", self._start)
        event.listen(engine, "after_cursor_execute", self._stop)
        event.listen(engine, "handle_error", self._fail)

    def remove(self, engine: Engine) -> None:
        """No longer."""
        event.remove(engine, "before_cursor_execute", self._start)
        event.remove(engine, "after_cursor_execute", self._stop)
        event.remove(engine, "handle_error", self._fail)

    def _start(
        self,
        _c: Connection,
        _cursor: Any,
        _sql: str,
        _params: Any,
        context: ExecutionContext | None,
        _many: bool,
    ) -> None:
        if context is not None:
            context.gatehouse_started = perf_counter()  # type: ignore[attr-defined]

    def _stop(
        self,
        _c: Connection,
        _cursor: Any,
        sql: str,
        parameters: Any,
        context: ExecutionContext | None,
        many: bool,
    ) -> None:
        passed = _since(context)
        if context is not None:
            # As it was before query tags were appended: with them each request's text would be another one.
            sql = context.statement or sql
            many = many or context.execution_options.get(MAY_REPEAT, False)
        self._hub.emit(DatabaseEvent(_operation(sql), passed, None, sql, None if many else parameters))

    def _fail(self, context: ExceptionContext) -> None:
        execution = context.execution_context
        statement = (execution.statement if execution is not None else None) or context.statement or ""
        failed = _name_of(context.original_exception)
        self._hub.emit(DatabaseEvent(_operation(statement), _since(execution), failed, statement))


def _since(context: ExecutionContext | None) -> float:
    started: float | None = getattr(context, "gatehouse_started", None)
    return 0.0 if started is None else perf_counter() - started
