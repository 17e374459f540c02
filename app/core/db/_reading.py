"""The session class behind every ``ReadSession``: it refuses changes, and asks which server a transaction shall read from."""

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.util.concurrency import in_greenlet

from app.core.db._errors import (
    DatabaseError,
    DatabaseTimeout,
    DatabaseUnavailable,
    PoolExhausted,
    ReadOnlySession,
    translate,
)
from app.core.db._sealed import RequestSession
from app.core.valkey import is_making


class ReadRoute(Protocol):
    """Where transactions that only read may go instead of the primary."""

    def offer(self, *, is_fresh: bool) -> Engine | None:
        """The engine to read from; None: the primary, as always when ``is_fresh``. Called in a greenlet, where it may wait a little."""

    def reached(self) -> None:
        """A transaction has begun on what was offered."""

    def lost(self, reason: str) -> None:
        """What was offered cannot be reached, so it begins on the primary; ``reason`` is an error's name."""


class ReadingSession(RequestSession):
    """A session that only reads. ``route`` says where to, once for each transaction; without one it is the engine it is bound to.

    ``is_fresh`` is asked at the begin of each transaction: it must see whatever is committed by then.
    """

    def __init__(
        self,
        *args: Any,
        route: ReadRoute | None = None,
        is_fresh: Callable[[], bool] = bool,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._route = route
        self._is_fresh = is_fresh
        self._server: Engine | Connection | None = None
        """Where the transaction under way is; None: there is none yet."""

    def get_bind(self, *args: Any, **options: Any) -> Engine | Connection:
        """The server of the transaction under way; without one, of a new one, which begins here."""
        if self._route is None or options.get("bind") is not None:
            return super().get_bind(*args, **options)
        if (
            self._server is None and in_greenlet()
        ):  # Outside of one somebody asks what it is bound to, and runs nothing.
            self._begin_on(self._route, None)
        return self._server or super().get_bind(*args, **options)

    def connection(self, bind_arguments: Any = None, execution_options: Any = None) -> Connection:
        """As SQLAlchemy's: ``execution_options`` count for the transaction that begins with it."""
        is_told = bool(bind_arguments and bind_arguments.get("bind"))
        if self._route is None or is_told or self._server is not None:
            return super().connection(bind_arguments, execution_options)
        return self._begin_on(self._route, execution_options)

    def _begin_on(self, route: ReadRoute, options: Any) -> Connection:
        """Connect to the replica, or to the primary if that cannot be reached: nothing was sent yet."""
        primary = super().get_bind()
        replica = route.offer(is_fresh=is_making() or self._is_fresh())
        if replica is not None:
            try:
                connection = self._begin(replica, options)
            except (SQLAlchemyError, DatabaseError, OSError) as error:
                if not _is_outage(error):
                    raise
                route.lost(type(error).__name__)
            else:
                route.reached()
                return connection
        return self._begin(primary, options)

    def _begin(self, server: Engine | Connection, options: Any) -> Connection:
        connection = super().connection({"bind": server}, options)
        self._server = server
        return connection

    def refuse_changes(self) -> None:
        """Raise ReadOnlySession if there is anything that a flush would write."""
        changed = (
            *self.new,
            *self.deleted,
            *(one for one in self.dirty if self.is_modified(one)),
        )
        if changed:
            names = ", ".join(sorted({type(one).__name__ for one in changed}))
            raise ReadOnlySession(
                f"This session only reads, and {names} was changed; ask for get_db to write"
            )

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ReadOnlySession("This session only reads; ask for get_db to write")

    add = add_all = delete = delete_all = merge = merge_all = _refuse
    bulk_save_objects = bulk_insert_mappings = bulk_update_mappings = _refuse


def _is_outage(error: Exception) -> bool:
    known = translate(error)
    # A replica whose connections are all in use is busy: its load on top of the primary's own would bring that down too.
    return isinstance(known, (DatabaseUnavailable, DatabaseTimeout)) and not isinstance(known, PoolExhausted)


@event.listens_for(ReadingSession, "before_flush")
def _refuse_flush(session: ReadingSession, _context: object, _instances: object) -> None:
    session.refuse_changes()


@event.listens_for(ReadingSession, "after_transaction_end")
def _forget_server(session: ReadingSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session._server = None  # noqa: SLF001 - the class and its listener are one
