"""A worker and what it needs, in this process, on the tests' servers: for tests that look at what it does with jobs."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.builtin.jobs.models import TABLES
from app.builtin.jobs.service import provide_jobs
from app.core.db import get_db_context
from app.core.jobs import Added, Job, JobBroker, JobQueue, JobStore, Worker
from app.registry import Feature
from app.settings import Settings
from app.worker import WorkerApp

_ROW = text("SELECT * FROM jobs WHERE id = :id")
_DROP = text("DELETE FROM jobs WHERE id = :id")


@dataclass
class Workbench:
    """``app`` is the worker's process without its signals."""

    app: WorkerApp

    @property
    def worker(self) -> Worker:
        """The worker itself."""
        return self.app.worker

    @property
    def queue(self) -> JobQueue:
        """Where jobs are submitted."""
        return self.app.platform.require(JobQueue)

    @property
    def store(self) -> JobStore:
        """The truth."""
        return self.app.platform.require(JobStore)  # type: ignore[type-abstract]

    @property
    def broker(self) -> JobBroker:
        """What carries the messages."""
        return self.app.platform.require(JobBroker)  # type: ignore[type-abstract]

    async def enqueue(self, job: Job[Any], arguments: Any, **options: Any) -> Added:
        """Submit it in a transaction of its own."""
        async with get_db_context(self.app.platform.database) as session:
            return await self.queue.enqueue(session, job, arguments, **options)

    async def row(self, job_id: UUID) -> Any:
        """The job as the database has it."""
        async with self.app.platform.database.session() as session:
            return (await session.execute(_ROW, {"id": job_id})).one()

    async def drop(self, job_id: UUID) -> None:
        """Leave nothing of it for other tests."""
        async with get_db_context(self.app.platform.database) as session:
            await session.execute(_DROP, {"id": job_id})

    async def ended(self, job_id: UUID) -> Any:
        """The job, as soon as it is neither queued nor running."""
        while (row := await self.row(job_id)).status in ("queued", "running"):  # noqa: ASYNC110 - the database does not tell
            await asyncio.sleep(0.005)
        return row


@asynccontextmanager
async def working(
    settings: Settings, jobs: Iterable[Job[Any]], /, **changes: Any
) -> AsyncIterator[Workbench]:
    """A worker that knows these jobs, at work."""
    feature = Feature(name="jobs", provides=provide_jobs, models=TABLES, jobs=tuple(jobs))
    app = WorkerApp(settings.model_copy(update=changes), registry=(feature,))
    await app.start()
    try:
        yield Workbench(app)
    finally:
        await app.stop()
