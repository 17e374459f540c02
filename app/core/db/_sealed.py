"""The session class behind every session of ours."""

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from app.core.errors import ConfigurationError

_SEALED = "gatehouse_sealed"
_GUARDED = "gatehouse_guarded"


class RequestSession(Session):
    """A session that can be sealed (what begins after that may read but not write) and guarded (nobody but its scope commits).

    A request's sessions are sealed when its answer is decided. Work done later on the same session (a
    background task, a stream) would be rolled back without a word when the session closes; PostgreSQL refuses
    it aloud instead (SQLSTATE 25006).
    """

    def seal(self) -> None:
        """Only reads from now on. A transaction in progress is not affected, so commit first."""
        self.info[_SEALED] = True

    def guard(self) -> None:
        """Refuse ``commit()`` and ``begin()`` from now on, with a ConfigurationError; savepoints are free to end."""
        self.info[_GUARDED] = True

    def lift_guard(self) -> None:
        """Let commits pass again: for the scope, which commits at the end."""
        self.info.pop(_GUARDED, None)

    def begin(self, nested: bool = False) -> SessionTransaction:
        """As SQLAlchemy's. Refused while guarded, because its block would end in a commit."""
        if not nested:
            self._refuse_commit()
        return super().begin(nested)

    def commit(self) -> None:
        """As SQLAlchemy's. Refused while guarded, before an open savepoint is touched."""
        self._refuse_commit()
        super().commit()

    def _refuse_commit(self) -> None:
        if _GUARDED in self.info:
            raise ConfigurationError(
                'This endpoint has durability="db": record and effect must share one transaction, which the route commits. '
                "Leave commit() and begin() out of the handler; use begin_nested() for a part that may fail"
            )


@event.listens_for(RequestSession, "after_begin")
def _begin_read_only(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    if _SEALED in session.info:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


@event.listens_for(RequestSession, "before_commit")
def _refuse_transaction_commit(session: RequestSession) -> None:
    # The transaction object has a commit() of its own. The end of a savepoint passes here too, and is none.
    if session.get_nested_transaction() is None:
        session._refuse_commit()  # noqa: SLF001 - the class and its listener are one
