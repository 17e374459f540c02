"""Sees to it that every job that waits is known to the broker, and that no job stays with a worker that is gone."""

from datetime import timedelta
from uuid import UUID

import structlog

from app.core.jobs._broker import JobBroker
from app.core.jobs._publisher import Publisher
from app.core.jobs._store import JobStore
from app.core.observability import EventHub, QueueEvent

_log = structlog.get_logger(__name__)


class Relay:
    """One pass at a time, by any number of processes: each pass may be done twice without harm.

    ``silent_s``: how long a worker may give no sign of life. ``margin_s``: how far the clocks of broker and database may be apart.
    ``most``: jobs in one pass. ``hub`` hears what was found.
    """

    def __init__(
        self,
        store: JobStore,
        broker: JobBroker,
        publisher: Publisher,
        *,
        silent_s: float = 30.0,
        margin_s: float = 10.0,
        most: int = 1000,
        hub: EventHub | None = None,
    ) -> None:
        self._hub = hub or EventHub()
        self._store = store
        self._broker = broker
        self._publisher = publisher
        self._silent_s = silent_s
        self._margin = timedelta(seconds=margin_s)
        self._most = most

    async def publish(self) -> int:
        """Publish what is due and was not published: delayed jobs, retries, and what a crash left behind; how many."""
        due = await self._store.unpublished(most=self._most)
        if due:
            await self._publisher.publish(due)
        return len(due)

    async def recover(self, by: UUID | None = None) -> tuple[UUID, ...]:
        """For the worker ``by``: queue the jobs of workers that are gone again, or call them dead; their ids."""
        found = await self._store.recover(by, silent_s=self._silent_s, most=self._most)
        if found.requeued or found.dead:
            _log.warning("jobs.recovered", requeued=len(found.requeued), dead=len(found.dead))
            self._hub.emit(QueueEvent("recovered", "", len(found.requeued)))
            self._hub.emit(QueueEvent("buried", "", len(found.dead)))
        return found.requeued + found.dead

    async def find_lost(self) -> int:
        """Publish jobs again whose messages the broker has lost: they are older than anything that it has; how many."""
        count = 0
        for queue in await self._store.queues():
            now = await self._store.now()  # before the look: what is published meanwhile does not count
            oldest = (await self._broker.depth(queue)).oldest
            before = min(oldest - self._margin, now) if oldest is not None else now
            lost = await self._store.lost(queue, before, most=self._most)
            if lost:
                _log.warning("jobs.lost_by_the_broker", queue=queue, jobs=len(lost))
                self._hub.emit(QueueEvent("republished", queue, len(lost)))
                await self._publisher.publish(lost)
            count += len(lost)
        return count
