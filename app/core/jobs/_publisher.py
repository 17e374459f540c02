"""Tells the broker of jobs that were committed: those of one moment together."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any

import structlog

from app.core.db import AsyncSession, after_commit
from app.core.errors import Unavailable
from app.core.jobs._broker import JobBroker
from app.core.jobs._records import Due
from app.core.jobs._store import JobStore

_log = structlog.get_logger(__name__)


class Publisher:
    """Publishes at once, and notes it in the store a moment later, for all of that moment. What fails, or is lost with the process, the
    relay does again 2 seconds later: a job that is published twice runs once.

    ``most``: jobs in one round trip. ``note_s``: how long a note may wait for others, well below the 2 seconds. Belongs to one event loop.
    """

    def __init__(self, store: JobStore, broker: JobBroker, *, most: int = 500, note_s: float = 0.25) -> None:
        self._store = store
        self._broker = broker
        self._most = most
        self._note_s = note_s
        self._waiting: list[Due] = []
        self._published: list[Due] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    def add(self, due: Sequence[Due]) -> None:
        """Publish them soon, with what other requests commit meanwhile. Returns at once."""
        self._waiting.extend(due)
        self._have("publish", self._publish_all)

    def add_after_commit(self, session: AsyncSession, due: Due) -> None:
        """The same, once the session's transaction is committed, and never if it is not."""

        async def add() -> None:
            self.add([due])

        after_commit(session, add)

    async def publish(self, due: Sequence[Due]) -> None:
        """Publish them now. Raises Unavailable; the store then still has them as unpublished, or the broker has them twice."""
        for at in range(0, len(due), self._most):
            batch = due[at : at + self._most]
            await self._broker.publish([one.parcel for one in batch])
            await self._store.mark_published(batch)

    async def close(self, limit_s: float = 5.0) -> None:
        """Wait for what is under way, at most ``limit_s`` seconds."""
        self._closing.set()
        while running := [task for task in self._tasks.values() if not task.done()]:
            _, late = await asyncio.wait(running, timeout=limit_s)
            for task in late:
                task.cancel()

    def _have(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """See to it that this work is under way; not in the context of the request that happens to be the first."""
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.get_running_loop().create_task(work(), context=Context())

    async def _publish_all(self) -> None:
        while self._waiting:
            due, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if await self._tried(self._broker.publish([one.parcel for one in due]), len(due)):
                self._published.extend(due)
                self._have("note", self._note_all)

    async def _note_all(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), self._note_s)
        while self._published:
            due, self._published = self._published[: self._most], self._published[self._most :]
            await self._tried(self._store.mark_published(due), len(due))

    async def _tried(self, work: Awaitable[None], jobs: int) -> bool:
        try:
            await work
        except Unavailable as error:
            _log.warning("jobs.not_published", jobs=jobs, error=type(error).__name__)
            return False
        except Exception:  # noqa: BLE001 - the outermost frame of a task that nobody waits for
            _log.exception("jobs.not_published", jobs=jobs)
            return False
        return True
