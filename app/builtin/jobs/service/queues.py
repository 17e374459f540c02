"""How the queues stand, for metrics and people; and what is deleted."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.builtin.jobs.repository import QueueRows, QueueState, WorkerState, purge_deliveries
from app.core.db import Database, get_db_context
from app.core.jobs import JobBroker, QueueDepth
from app.core.observability import QueueMeter, QueueReading

_AT_ONCE, _MOST_BATCHES = 1000, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """silent_s: seconds without a sign of life after which a worker does not count. keep_days: that jobs are kept after their end."""

    silent_s: float
    keep_days: int


class QueueDesk:
    """Looks at all queues. ``known``: those that this release declares jobs for, shown also while they are empty."""

    def __init__(
        self,
        database: Database,
        broker: JobBroker,
        known: Sequence[str],
        options: QueueOptions,
    ) -> None:
        self._database = database
        self._rows = QueueRows(database)
        self._broker = broker
        self._known = tuple(known)
        self._options = options
        self._meter = QueueMeter()

    async def states(self) -> list[QueueState]:
        """How they stand in the database, by name. Raises Unavailable (503)."""
        return await self._rows.states(self._known, self._options.silent_s)

    async def all_workers(self) -> list[tuple[WorkerState, bool]]:
        """The same with those that are silent, and whether each is. Raises Unavailable (503)."""
        return [(worker, worker.seen_s > self._options.silent_s) for worker in await self._rows.workers()]

    async def workers(self) -> list[WorkerState]:
        """The workers that are there, by name. Raises Unavailable (503)."""
        return [worker for worker in await self._rows.workers() if worker.seen_s <= self._options.silent_s]

    async def depth(self, queue: str) -> QueueDepth:
        """How one stands at the broker. Raises Unavailable (503)."""
        return await self._broker.depth(queue)

    async def measure(self) -> None:
        """Set the metrics: from the database first, so that they are there while the broker is away. Raises Unavailable."""
        states = await self.states()
        workers = await self.workers()
        self._meter.tell({state.queue: _reading(state) for state in states}, workers=len(workers))
        for state in states:
            depth = await self._broker.depth(state.queue)
            self._meter.tell_broker(
                state.queue, waiting=depth.waiting, unacked=depth.unacked, dead=depth.dead
            )

    async def purge(self) -> int:
        """Delete jobs that ended more than ``keep_days`` ago, dead ones too, and what webhooks were told longer ago than that; how many. At
        most 200,000 of each in one run, 1,000 at once: no lock is held for long.
        """
        return await _all_of(self._purge_jobs) + await _all_of(self._purge_deliveries)

    async def _purge_jobs(self) -> int:
        return await self._rows.purge(self._options.keep_days, _AT_ONCE)

    async def _purge_deliveries(self) -> int:
        async with get_db_context(self._database) as session:
            return await purge_deliveries(session, self._options.keep_days, _AT_ONCE)


async def _all_of(purge: Callable[[], Awaitable[int]]) -> int:
    gone = 0
    for _ in range(_MOST_BATCHES):
        some = await purge()
        gone += some
        if some < _AT_ONCE:
            break
    return gone


def _reading(state: QueueState) -> QueueReading:
    counts = {
        "waiting": state.waiting,
        "delayed": state.delayed,
        "running": state.running,
        "dead": state.dead,
    }
    return QueueReading(counts, state.oldest_s or 0.0, state.workers)
