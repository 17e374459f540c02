"""What the pages of the monitor show: each question put once in a few seconds, however many people look."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple, TypeVar

from app.core.http import Background
from app.core.monitor import MonitorBusy, Panel, panel
from app.core.resilience import Clock, Places

_T = TypeVar("_T")
_MOST = 256
_AT_ONCE = 2  # as many as the monitor has connections: more would only wait for one, and give up sooner
_WAIT_S = 4.0
PATIENCE_S = 0.1
WORKING = "Being worked out; look again in a few seconds"


class _Kept(NamedTuple):
    until: float
    panel: Panel[Any]


class Board:
    """Panels by name, kept for ``keep_s`` seconds of ``clock``, also those without an answer: a server that hangs is not asked again by
    everybody who reloads. Two questions are put at once; who has waited four seconds for his turn is told that the monitor is busy, so
    that a page with many panels is there in time whatever the server does. Of one process, on one event loop; at most 256 are kept.
    """

    def __init__(self, clock: Clock, *, keep_s: float = 3.0, background: Background | None = None) -> None:
        self._clock = clock
        self._background = background or Background()
        self._working: dict[Hashable, asyncio.Task[Any]] = {}
        self._keep_s = keep_s
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._places = Places(_AT_ONCE, queue=_MOST)
        self._locks: dict[Hashable, asyncio.Lock] = {}

    async def look(
        self, name: Hashable, question: Callable[[], Awaitable[_T]], *, keep_s: float | None = None
    ) -> Panel[_T]:
        """The answer to ``question``, or why there is none. Who comes while it is being answered waits for the same answer; ``name`` must
        hold all that the answer depends on. ``keep_s``: for so long instead, if there is an answer.
        """
        if (kept := self._fresh(name)) is not None:
            return kept
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                if (kept := self._fresh(name)) is not None:
                    return kept
                answer = await panel(str(name), lambda: self._in_turn(question))
                self._keep(name, answer, keep_s)
                return answer
        finally:
            if not lock.locked():
                self._locks.pop(name, None)

    async def glance(
        self,
        name: Hashable,
        question: Callable[[], Awaitable[_T]],
        *,
        keep_s: float,
        patience_s: float = PATIENCE_S,
    ) -> Panel[_T]:
        """As ``look``, for questions that take seconds: after ``patience_s`` it goes on in the background, and who asks again finds the
        answer. Until then there is none, and the reason says so.
        """
        if (kept := self._fresh(name)) is not None:
            return kept
        task = self._working.get(name)
        if task is None:
            if not self._background.has_room():
                return Panel(None, MonitorBusy().detail, 0.0)
            task = self._working[name] = self._background.start(self.look(name, question, keep_s=keep_s))
            task.add_done_callback(lambda _: self._working.pop(name, None))
        await asyncio.wait({task}, timeout=patience_s)
        return self._fresh(name) or Panel(None, WORKING, 0.0)

    def known(self, name: Hashable) -> Panel[Any] | None:
        """What is kept under this name, without asking."""
        return self._fresh(name)

    async def _in_turn(self, question: Callable[[], Awaitable[_T]]) -> _T:
        if not await self._places.acquire(_WAIT_S):
            raise MonitorBusy
        try:
            return await question()
        finally:
            self._places.release()

    def _fresh(self, name: Hashable) -> Panel[Any] | None:
        kept = self._kept.get(name)
        return kept.panel if kept is not None and kept.until > self._clock.monotonic() else None

    def _keep(self, name: Hashable, answer: Panel[Any], keep_s: float | None) -> None:
        length = self._keep_s if keep_s is None or answer.value is None else keep_s
        self._kept[name] = _Kept(self._clock.monotonic() + length, answer)
        self._kept.move_to_end(name)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
