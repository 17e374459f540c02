"""The two kinds of sessions, as types: a function says which one it needs, and mypy holds its callers to that."""

from typing import cast

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._errors import DRIVER_ERRORS, DatabaseError
from app.core.db._finish import finish
from app.core.db._reading import ReadingSession
from app.core.db._sealed import RequestSession


class WriteSession(AsyncSession):
    """A session that reads and writes: from ``get_db``, ``get_db_context``, ``SessionManager``.

    A function that writes takes this type and is then never given a ``ReadSession``; one that only reads may take ``AsyncSession``,
    which both are.
    """

    sync_session_class = RequestSession


class ReadSession(AsyncSession):
    """A session that reads: from ``get_read_db``, ``get_read_db_context``, ``SessionManager(read_only=True)``.

    Its transactions are READ ONLY on the server, and may go to the replica. ``add``, ``add_all``, ``delete``, ``merge``, a flush and a
    commit of changes raise ``ReadOnlySession`` before anything is sent; other statements that write the server refuses
    (``DatabaseReadOnly``). ``commit()`` ends the transaction and keeps what was loaded readable.
    """

    sync_session_class = ReadingSession

    def refuse_changes(self) -> None:
        """Raise ReadOnlySession if a loaded object was changed: nobody would store that."""
        cast("ReadingSession", self.sync_session).refuse_changes()

    async def end(self) -> None:
        """End the transaction, if one is under way; never raises for the server, because nothing can get lost."""
        if not self.in_transaction():
            return
        try:
            await self.commit()  # A ROLLBACK takes as long, and would have the objects read again.
        except (SQLAlchemyError, *DRIVER_ERRORS, OSError, DatabaseError):
            await finish(self, close=False)
