"""The session class behind every session of ours."""

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

_SEALED = "gatehouse_sealed"


class RequestSession(Session):
    """A session that can be sealed: what begins after that may read but not write.

    A request's sessions are sealed when its answer is decided. Work done later on the same session (a
    background task, a stream) would be rolled back without a word when the session closes; PostgreSQL refuses
    it aloud instead (SQLSTATE 25006).
    """

    def seal(self) -> None:
        """Only reads from now on. A transaction in progress is not affected, so commit first."""
        self.info[_SEALED] = True


@event.listens_for(RequestSession, "after_begin")
def _begin_read_only(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    if _SEALED in session.info:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
