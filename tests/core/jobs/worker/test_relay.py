"""Jobs that nobody told the broker of, and jobs whose messages it lost, on real servers and without a worker that would take them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from app.builtin.jobs.models import TABLES
from app.builtin.jobs.service import provide_jobs
from app.core.db import get_db_context
from app.core.errors import Unavailable
from app.core.jobs import Due, JobBroker, JobQueue, JobRun, JobStore, Publisher, Relay, ValkeyBroker, job
from app.core.observability import EventHub, QueueEvent
from app.core.valkey import ValkeyClient
from app.registry import Feature
from app.settings import Settings
from app.worker import WorkerApp


class Nothing(BaseModel):
    """All that it needs."""


@job("relayed", queue="relayed")
async def relayed(_arguments: Nothing, _run: JobRun) -> None: ...


class Dying(Publisher):
    """Of a process that ends before it has told the broker."""

    def add(self, due: Sequence[Due]) -> None: ...


class Desk:
    """Submits jobs in a process that dies after its commit (``submit``), and looks what a relay makes of that."""

    def __init__(self, app: WorkerApp) -> None:
        platform = app.platform
        self.app, self.database = app, platform.database
        self.store: JobStore = platform.require(JobStore)  # type: ignore[type-abstract]
        self.broker: JobBroker = platform.require(JobBroker)  # type: ignore[type-abstract]
        self.seen: list[QueueEvent] = []
        hub = EventHub()
        hub.subscribe(QueueEvent, self.seen.append)
        self.relay = Relay(self.store, self.broker, Publisher(self.store, self.broker), hub=hub)

    async def submit(self) -> UUID:
        dying = Dying(self.store, self.broker)
        queue = JobQueue(self.store, dying, self.app.platform.require(JobQueue).catalog)
        async with get_db_context(self.database) as session:
            return (await queue.enqueue(session, relayed, Nothing())).id

    async def row(self, job_id: UUID) -> Any:
        async with self.database.session() as session:
            return (await session.execute(text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id})).one()

    async def write(self, statement: str, **values: Any) -> None:
        async with get_db_context(self.database) as session:
            await session.execute(text(statement), values)

    async def two_seconds_later(self) -> None:
        await self.write("UPDATE jobs SET publish_at = publish_at - interval '2 s'")

    async def delivered(self) -> list[UUID]:
        messages = await self.broker.read("relayed", 100, 0)
        await self.broker.ack(messages)
        return [UUID(bytes=one.body) for one in messages]


@pytest.fixture
async def desk(settings: Settings, clean_database: None) -> AsyncIterator[Desk]:
    feature = Feature(name="jobs", provides=provide_jobs, models=TABLES, jobs=(relayed,))
    desk = Desk(WorkerApp(settings, registry=(feature,)))
    yield desk
    await desk.delivered()
    await desk.write("DELETE FROM jobs")
    await desk.broker.close()
    await desk.app.platform.store.close()
    await desk.database.close()


async def test_what_was_committed_and_not_published_is_published_two_seconds_later_and_once(
    desk: Desk,
) -> None:
    first, second = [await desk.submit() for _ in range(2)]
    row = await desk.row(first)
    assert row.publish_at - row.run_at == timedelta(seconds=2)
    assert await desk.relay.publish() == 0
    await desk.two_seconds_later()
    assert sum(await asyncio.gather(*(desk.relay.publish() for _ in range(3)))) == 2
    assert sorted(await desk.delivered()) == [first, second]
    assert [(one.publish_at, one.status) for one in (await desk.row(first), await desk.row(second))] == [
        (None, "queued")
    ] * 2
    await desk.two_seconds_later()
    assert await desk.relay.publish() == 0


async def test_while_the_broker_is_away_it_stays_to_be_published(desk: Desk) -> None:
    job_id = await desk.submit()
    await desk.two_seconds_later()
    nobody = ValkeyClient("valkey://127.0.0.1:1/0")
    away = ValkeyBroker(nobody, timeout_s=0.5)
    with pytest.raises(Unavailable):
        await Relay(desk.store, away, Publisher(desk.store, away)).publish()
    await nobody.close()
    assert (await desk.row(job_id)).publish_at is not None
    await desk.write("UPDATE jobs SET publish_at = now()")
    assert await desk.relay.publish() == 1
    assert await desk.delivered() == [job_id]


async def test_what_the_broker_lost_is_published_again_and_what_it_has_is_not(desk: Desk) -> None:
    lost, kept = [await desk.submit() for _ in range(2)]
    await desk.write("UPDATE jobs SET publish_at = now() WHERE id = :id", id=lost)
    await desk.relay.publish()
    assert await desk.delivered() == [lost]  # and whoever got it is gone
    await desk.two_seconds_later()
    await desk.relay.publish()
    await desk.write("UPDATE jobs SET published_at = now() - interval '1 minute' WHERE id = :id", id=lost)
    assert [await desk.relay.find_lost() for _ in range(2)] == [1, 0]
    assert sorted(await desk.delivered()) == [lost, kept]
    assert [(one.kind, one.queue, one.jobs) for one in desk.seen] == [("republished", "relayed", 1)]
