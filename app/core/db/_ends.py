"""What waits for the end of a request's transactions."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

import structlog

from app.core.db._finish import uninterrupted

End = Literal["kept", "undone", "unknown"]
"""How the transactions of a request ended; ``unknown``: the connection broke under a commit, which may have reached the server."""


class Ends:
    """Two lists of things to do: before the commit, inside the transactions, and once after their end, whatever it is."""

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        self._before: list[Callable[[], Awaitable[object]]] = []
        self._after: list[Callable[[End], Awaitable[object]]] = []

    def __bool__(self) -> bool:
        return bool(self._before or self._after)

    def add_before(self, act: Callable[[], Awaitable[object]]) -> None:
        """``act`` is awaited before the commit, in the order of adding; what it raises undoes everything."""
        self._before.append(act)

    def add_after(self, act: Callable[[End], Awaitable[object]]) -> None:
        """``act`` is awaited once, after the commit or rollback; what it raises is logged, because it changes nothing any more."""
        self._after.append(act)

    async def before(self) -> None:
        """Do what is to be done before the commit."""
        acts, self._before = self._before, []
        for act in acts:
            await act()

    async def after(self, end: End) -> None:
        """Tell those who wait: all of them, even if the caller is cancelled meanwhile."""
        self._before = []
        acts, self._after = self._after, []
        if acts:
            await uninterrupted(_tell(acts, end))


async def _tell(acts: Iterable[Callable[[End], Awaitable[object]]], end: End) -> None:
    for act in acts:
        try:
            await act(end)
        except Exception:  # noqa: BLE001 - the transactions have ended: the others must hear of it
            structlog.get_logger(__name__).exception("sessions.end_failed", end=end)
