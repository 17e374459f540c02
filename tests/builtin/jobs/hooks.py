"""Webhooks on real servers: a user, his webhooks, jobs of his that end, and what sends. Only the clock is the test's."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel
from sqlalchemy import text

from app.builtin.jobs.jobs import deliver_webhook
from app.builtin.jobs.repository import WebhookSending
from app.builtin.jobs.schemas import DeliveryOut, DeliveryQuery, WebhookCreate, WebhookCreated
from app.builtin.jobs.service import Deliverer, PostgresJobStore, WebhookDesk
from app.builtin.jobs.service.webhook_hosts import WebhookHosts
from app.builtin.jobs.service.webhook_queue import WebhookFollower, WebhookQueue
from app.builtin.jobs.service.webhook_sender import WebhookSender
from app.builtin.jobs.service.webhook_urls import WebhookUrls
from app.core.context import Principal
from app.core.db import Database, get_db_context
from app.core.jobs import Catalog, EndedJob, JobQueue, JobRun, Publisher, Status, ValkeyBroker, job
from app.core.resilience import ManualClock
from app.core.valkey import ValkeyClient
from tests.upstream import Upstream

NOW = 1_800_000_000
_END = text(
    "UPDATE jobs SET status = :status, finished_at = coalesce(finished_at, clock_timestamp()) WHERE id = :id"
)
_RUNS = text("SELECT id, status, owner, queue FROM jobs WHERE name = 'deliver_webhook' AND webhook_id = :id")


class Nothing(BaseModel):
    """No arguments."""


@job("errand")
async def errand(_arguments: Nothing, _run: JobRun) -> int:
    """Somebody's job."""
    return 1


class Hooks:
    """The parts. Nothing runs by itself: ``deliver`` is what the worker would do."""

    def __init__(self, database: Database, store: ValkeyClient, upstream: Upstream) -> None:
        self.database = database
        self.upstream = upstream
        self.clock = ManualClock(start=NOW)
        self.urls = WebhookUrls(allow_http=True, allow_private=True)
        self.jobs = PostgresJobStore(database)
        self._broker = ValkeyBroker(store)
        self._publisher = Publisher(self.jobs, self._broker)
        self.queue = JobQueue(self.jobs, self._publisher, Catalog([errand, deliver_webhook]))
        self.follower = WebhookFollower(WebhookQueue(self.queue), self.clock)
        self.jobs.followers.append(self.follower)
        self.desk = WebhookDesk(self.urls, WebhookQueue(self.queue), self.clock)
        self.sender = WebhookSender(self.clock, allow_private=True, limit_s=5.0)
        self.log = WebhookSending(database)
        self.hosts = WebhookHosts(self.clock, places=64, rng=lambda: 0.0)
        self.deliverer = Deliverer(self.log, self.sender, urls=self.urls, hosts=self.hosts, clock=self.clock)

    async def close(self) -> None:
        await self.sender.close()
        await self._publisher.close()
        await self._broker.close()

    async def ask(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """One of the desk's methods, in a transaction of its own."""
        async with get_db_context(self.database) as session:
            return await method(session, *arguments)

    async def create(self, caller: Principal, url: str | None = None) -> WebhookCreated:
        created: WebhookCreated = await self.ask(
            self.desk.create, caller, WebhookCreate(url=url or self.upstream.url)
        )
        return created

    async def submit(self, caller: Principal, webhook_id: UUID) -> UUID:
        """A job of his, which does not run."""
        async with get_db_context(self.database) as session:
            added = await self.queue.enqueue(
                session, errand, Nothing(), submitter=caller, webhook_id=webhook_id, delay_s=1000
            )
        return added.id

    async def end(
        self, job_id: UUID, webhook_id: UUID, status: Status = "succeeded", *, then: Exception | None = None
    ) -> None:
        """The job's end, and what follows from it, in one transaction."""
        async with get_db_context(self.database) as session:
            await session.execute(_END, {"id": job_id, "status": status})
            ended = EndedJob(job_id, errand.name, status, None, False, None, webhook_id, b"6", None)
            await self.jobs.follow(session, [ended])
            if then is not None:
                raise then

    async def told(self, caller: Principal, webhook_id: UUID) -> list[DeliveryOut]:
        """The log, oldest first."""
        page = await self.ask(self.desk.deliveries, caller, webhook_id, DeliveryQuery())
        return list(reversed(page.items))

    async def run_of(self, delivery_id: UUID) -> UUID:
        """The job that is to send it."""
        loaded = await self.log.load(delivery_id)
        assert loaded is not None
        return loaded.run_id

    async def deliver(self, delivery_id: UUID) -> None:
        await self.deliverer.deliver(delivery_id, await self.run_of(delivery_id))

    async def runs(self, webhook_id: UUID) -> list[Any]:
        """The jobs that send to it."""
        async with self.database.session() as session:
            return list((await session.execute(_RUNS, {"id": webhook_id})).all())

    async def allow_attempts(self, run_id: UUID, most: int) -> None:
        """So often is it tried at most."""
        async with get_db_context(self.database) as session:
            await session.execute(
                text("UPDATE jobs SET max_attempts = :most WHERE id = :id"), {"id": run_id, "most": most}
            )

    async def give_up(self, delivery_id: UUID) -> None:
        """Its job ends without having sent it."""
        dead = EndedJob(
            await self.run_of(delivery_id), deliver_webhook.name, "dead", None, False, None, uuid4(), None, ""
        )
        async with get_db_context(self.database) as session:
            await self.jobs.follow(session, [dead])


def somebody() -> Principal:
    """A user."""
    return Principal(str(uuid4()))


@asynccontextmanager
async def hooks_on(database: Database, store: ValkeyClient, upstream: Upstream) -> AsyncIterator[Hooks]:
    """All of it, closed at the end."""
    hooks = Hooks(database, store, upstream)
    try:
        yield hooks
    finally:
        await hooks.close()
