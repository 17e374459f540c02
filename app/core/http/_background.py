"""Work that goes on after its request was answered: a stale answer was given and the new one is still being made."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class Background:
    """Tasks of one application, at most ``most`` at once; they are cancelled when it stops."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[Any]] = set()

    def has_room(self) -> bool:
        """Whether another one may start."""
        return len(self._tasks) < self._most

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run it beside the requests; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("http.background_failed", error=type(error).__name__, exc_info=error)

    async def close(self) -> None:
        """Cancel what runs and wait for its end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
