"""The replica's own pool."""

import select
from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from app.core.db._database import Database
from app.core.db._errors import DatabaseUnavailable
from app.core.resilience import BreakerRules
from app.core.valkey import spoil

# A standby cancels a read that keeps it from replaying what the primary did, such as removing the rows that it reads.
_CONFLICTS = frozenset({"40001", "40P01"})


class ReplicaServer(Database):
    """A database that answers reads only. What is read from it is never kept; who reads is told apart from who races.

    ``on_lost`` hears of each connection that it broke.
    """

    connect_timeout_s: ClassVar[float] = 2.0
    # One failure is enough: there is another server to ask.
    breaker_rules: ClassVar[BreakerRules] = BreakerRules(
        failure_rate=0.01, min_calls=1, open_for=1.0, open_most=15.0, slow_after=float("inf")
    )

    def __init__(
        self, url: str, *, on_lost: Callable[[str], None] = lambda _reason: None, **options: Any
    ) -> None:
        super().__init__(url, **options)
        self._on_lost = on_lost

    def _make_engine(self, **pool: Any) -> AsyncEngine:
        engine = super()._make_engine(**pool)
        event.listen(engine.sync_engine, "before_cursor_execute", _spoil)
        event.listen(engine.sync_engine, "handle_error", self._note_error)
        event.listen(engine.sync_engine, "checkout", _refuse_spoken_to)
        return engine

    def _note_error(self, context: ExceptionContext) -> BaseException | None:
        driver = getattr(context.original_exception, "driver_exception", context.original_exception)
        code = getattr(driver, "sqlstate", None)
        if code in _CONFLICTS:
            cancelled = DatabaseUnavailable("The read was cancelled on the replica; try again")
            cancelled.sqlstate = code
            return cancelled
        # Without the second, others are well: whoever waited was cancelled, or two tasks used one connection.
        if context.is_disconnect and context.invalidate_pool_on_disconnect:
            self._on_lost(type(driver).__name__)
        return None


def _refuse_spoken_to(connection: Any, _entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
    """Have the pool make a new connection when the server has said something on this one, which nobody used: its goodbye, or the end.

    The driver may not have read it yet, and where another server can be asked, no read need fail for that. Costs two microseconds.
    """
    transport = getattr(connection.driver_connection, "_transport", None)
    socket = transport.get_extra_info("socket") if transport is not None else None
    if socket is None or socket.fileno() < 0:
        return
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError


def _spoil(*_statement: Any) -> None:
    spoil()
