"""A worker that was not heard itself does not say of others that they were silent."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast
from uuid import UUID

from app.core.errors import Unavailable
from app.core.jobs import (
    Catalog,
    Execution,
    Heartbeat,
    JobBroker,
    JobStore,
    Progress,
    Worker,
    WorkerInfo,
    WorkerOptions,
)
from app.core.jobs.worker._relay import Relay
from app.core.observability import EventHub
from app.core.resilience import ManualClock


class Store:
    """Of a JobStore what takes signs of life."""

    is_away = False

    async def enter(self, _worker: WorkerInfo) -> None: ...

    async def leave(self, _worker: UUID) -> None: ...

    async def beat(
        self,
        _worker: WorkerInfo,
        _running: Sequence[UUID],
        _told: Sequence[Progress],
        _doubtful: Sequence[UUID],
    ) -> Heartbeat:
        if self.is_away:
            raise Unavailable
        return Heartbeat(is_known=True, cancelled=frozenset())


class Others:
    """Of a Relay what takes the jobs of others; how often."""

    times = 0

    async def publish(self) -> int:
        return 0

    find_lost = publish

    async def recover(self, _by: UUID) -> tuple[UUID, ...]:
        self.times += 1
        return ()


async def test_it_takes_nothing_from_others_until_the_database_was_there_for_a_while() -> None:
    store, others, clock = Store(), Others(), ManualClock()
    execution = Execution(
        cast("JobStore", store),
        cast("Any", None),
        cast("Any", None),
        processes=None,
        require=cast("Any", None),
        hub=EventHub(),
    )
    worker = Worker(
        WorkerOptions(name="w", queues=()),
        execution,
        catalog=Catalog(()),
        store=cast("JobStore", store),
        broker=cast("JobBroker", None),
        relay=cast("Relay", others),
        clock=clock,
    )
    await worker.start()

    async def pass_s(seconds: int) -> int:
        before = others.times
        for _ in range(seconds):
            clock.advance(1.0)
            with suppress(Unavailable):
                await worker._beat()
            await worker._recover()
        return others.times - before

    assert await pass_s(3) == 3
    store.is_away = True
    assert await pass_s(60) <= 5
    store.is_away = False
    assert await pass_s(10) == 0
    assert await pass_s(3) == 3
    await worker.stop()
