"""Commands about jobs: what they do, without how they are asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from app.assembly import assemble
from app.builtin.accounts.repository import UserRepository
from app.builtin.jobs.schemas import JobQuery
from app.builtin.jobs.service import EVERYBODYS, BulkRetry, JobDesk, QueueDesk, Reach
from app.cli._sessions import database_url
from app.core.db import AsyncSession, get_db_context
from app.core.errors import EntityNotFoundError, Unavailable
from app.core.http import Platform
from app.core.jobs import OPEN, JobBroker
from app.registry import FEATURES
from app.settings import Settings

Report = Callable[[str, int, int], None]
_POLL_S = 0.5
_MOST_REPLAYED = 100_000


async def page(settings: Settings, query: JobQuery, owner: str | None) -> dict[str, Any]:
    """Jobs, the newest first. Raises EntityNotFoundError for an owner that is an unknown address."""
    async with _platform(settings) as platform, get_db_context(platform.database) as session:
        found = await platform.require(JobDesk).page(session, await _reach(session, owner), query)
    return found.model_dump(mode="json")


async def show(settings: Settings, job_id: UUID) -> dict[str, Any]:
    """One job. Raises EntityNotFoundError."""
    async with _platform(settings) as platform:
        return await _shown(platform, job_id)


async def watch(
    settings: Settings,
    job_id: UUID,
    report: Report,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> dict[str, Any]:
    """The same once it has ended; until then ``report`` gets what it is doing and its progress of 100, twice a second."""
    async with _platform(settings) as platform:
        while True:
            job = await _shown(platform, job_id)
            report(job["name"], int(100 * (job["progress"] or 0)), 100)
            if job["status"] not in OPEN:
                return job
            await sleep(_POLL_S)


async def cancel(settings: Settings, job_id: UUID) -> dict[str, Any]:
    """End it. Raises EntityNotFoundError, and Conflict for one that has ended."""
    async with _platform(settings) as platform, get_db_context(platform.database) as session:
        job = await platform.require(JobDesk).cancel(session, EVERYBODYS, job_id)
        return job.model_dump(mode="json")


async def retry(settings: Settings, job_id: UUID) -> dict[str, Any]:
    """Run it again. Raises EntityNotFoundError, Conflict for one that cannot be, InsufficientCredits."""
    async with _platform(settings) as platform, get_db_context(platform.database) as session:
        job = await platform.require(JobDesk).retry(session, EVERYBODYS, job_id)
        return job.model_dump(mode="json")


async def matching(settings: Settings, query: JobQuery, owner: str | None) -> list[UUID]:
    """The ids of all jobs that the query finds, the newest first."""
    ids: list[UUID] = []
    async with _platform(settings) as platform, get_db_context(platform.database) as session:
        reach = await _reach(session, owner)
        while True:
            found = await platform.require(JobDesk).page(session, reach, query)
            ids += [job.id for job in found.items]
            if found.next_cursor is None:
                return ids
            query = query.model_copy(update={"cursor": found.next_cursor})


async def retry_all(settings: Settings, ids: list[UUID], report: Report) -> dict[str, Any]:
    """Run them again, each in a transaction of its own, the oldest first; how many, and why others do not."""
    async with _platform(settings) as platform:
        ran = await platform.require(BulkRetry).retry_these(
            EVERYBODYS, reversed(ids), report=lambda seen: report("retry", seen, len(ids))
        )
    return {"retried": ran.done, "refused": {str(job_id): why for job_id, why in ran.refused.items()}}


async def queues(settings: Settings) -> dict[str, Any]:
    """Queues and workers. ``broker`` of a queue is None while the broker is away."""
    async with _platform(settings) as platform:
        looking = platform.require(QueueDesk)
        found = []
        for state in await looking.states():
            try:
                depth = await looking.depth(state.queue)
                broker = {"waiting": depth.waiting, "unacked": depth.unacked, "dead": depth.dead}
            except Unavailable:
                broker = None
            found.append({**state._asdict(), "broker": broker})
        workers = [worker._asdict() for worker in await looking.workers()]
    return {"queues": found, "workers": workers}


async def replay_dead(settings: Settings, queue: str) -> dict[str, Any]:
    """Hand out again what the broker put aside. Raises Unavailable."""
    async with _platform(settings) as platform:
        broker: JobBroker = platform.require(JobBroker)  # type: ignore[type-abstract]
        return {"queue": queue, "replayed": await broker.replay(queue, _MOST_REPLAYED)}


async def _shown(platform: Platform, job_id: UUID) -> dict[str, Any]:
    async with get_db_context(platform.database) as session:
        job = await platform.require(JobDesk).show(session, EVERYBODYS, job_id)
    return job.model_dump(mode="json")


async def _reach(session: AsyncSession, owner: str | None) -> Reach:
    """Whose jobs: those of a user by address, of an owner by id, or everybody's."""
    if owner is None or "@" not in owner:
        return Reach(owner, is_of_any_tenant=True)
    user = await UserRepository(session).get_by_email(owner)
    if user is None:
        raise EntityNotFoundError("There is no user with this e-mail address.")
    return Reach(str(user.id), is_of_any_tenant=True)


@asynccontextmanager
async def _platform(settings: Settings) -> AsyncIterator[Platform]:
    """What the service is made of, without its periodic work; closed at the end."""
    database_url(settings)
    platform = assemble(settings, FEATURES)
    try:
        yield platform
    finally:
        for stop in platform.on_stop:
            if (waiting := stop()) is not None:
                await waiting
        await platform.admitter.close()
        await platform.store.close()
        await platform.database.close()
