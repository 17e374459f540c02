"""The history of statements, as far as it can be read at this moment."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Final, TypeVar

from app.builtin.db_monitor.repository import KnownStatement, StatementHistory, StatementSeries, WindowUse
from app.core.db import DatabaseError, ReadSession

_T = TypeVar("_T")
_LOST: Final = (
    "The history of statements cannot be read at the moment; this is what the server counts by itself"
)


class HistoryRead:
    """Reads in one session; answers as if there were no history once a table of it is gone, locked or slow, or the session has no
    connection: the server's own counters can still be shown then. ``doubts`` says so.
    """

    def __init__(self, session: ReadSession) -> None:
        self._history = StatementHistory(session)
        self._is_lost = False

    @property
    def doubts(self) -> tuple[str, ...]:
        """What to know before believing what was answered."""
        return (_LOST,) * self._is_lost

    async def begin(self) -> None:
        """Limit how long each reading may take."""
        await self._tried(self._history.read_quickly, None)

    async def window(self, length: timedelta, queryid: int | None = None) -> WindowUse | None:
        """As ``StatementHistory.window``."""
        return await self._tried(lambda: self._history.window(length, queryid), None)

    async def texts(self, queryids: Iterable[int]) -> dict[int, KnownStatement]:
        """As ``StatementHistory.texts``."""
        nothing: dict[int, KnownStatement] = {}
        return await self._tried(lambda: self._history.texts(queryids), nothing)

    async def series(self, queryid: int, length: timedelta | None) -> StatementSeries:
        """As ``StatementHistory.series``."""
        return await self._tried(
            lambda: self._history.series(queryid, length), StatementSeries(timedelta(minutes=5), ())
        )

    async def _tried(self, read: Callable[[], Awaitable[_T]], otherwise: _T) -> _T:
        """An error ends the session's transaction, so nothing is asked after one."""
        if self._is_lost:
            return otherwise
        try:
            return await read()
        except DatabaseError:
            self._is_lost = True
            return otherwise
