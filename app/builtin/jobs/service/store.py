"""The truth about jobs as the worker asks for it: ``JobStore``."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from app.builtin.jobs.repository import JobClaims, JobRows, WorkerRows, finish_in, leave, recover
from app.core.db import AsyncSession, Database, InvalidValue, get_db_context
from app.core.jobs import (
    OPEN,
    Added,
    ClaimedJob,
    Due,
    EndedJob,
    Follower,
    Heartbeat,
    JobFailed,
    JobStore,
    NewJob,
    Outcome,
    Progress,
    Recovered,
    WorkerInfo,
)


class PostgresJobStore(JobStore):
    """Jobs in PostgreSQL. ``followers`` act on the ends of jobs that are charged or have a webhook, in the same transaction."""

    def __init__(self, database: Database, followers: Iterable[Follower] = ()) -> None:
        self._database = database
        self.followers = list(followers)
        self._rows = JobRows(database)
        self._claims = JobClaims(database)
        self._workers = WorkerRows(database)

    async def add(self, session: AsyncSession, jobs: Sequence[NewJob]) -> list[Added]:
        """Write them into the session's transaction."""
        return [await self._rows.add(session, new) for new in jobs]

    async def mark_published(self, due: Sequence[Due]) -> None:
        """The broker has them."""
        await self._rows.mark_published(due)

    async def unpublished(self, *, most: int) -> list[Due]:
        """Jobs that are due and that nobody has published."""
        return await self._rows.take_due(most)

    async def lost(self, queue: str, published_before: datetime, *, most: int) -> list[Due]:
        """Queued jobs that were published before that time."""
        return await self._rows.take_lost(queue, published_before, most)

    async def claim(self, worker: UUID, ids: Sequence[UUID]) -> list[ClaimedJob]:
        """Those of them that are queued and due are this worker's now. Raises WorkerGivenUp."""
        return await self._claims.claim(worker, ids)

    async def finish(self, worker: UUID, outcomes: Sequence[Outcome]) -> frozenset[UUID]:
        """Write how attempts ended, and what follows from it; the jobs for which that counted."""
        plain = [one for one in outcomes if not one.is_followed]
        counted = await self._claims.finish(worker, plain) if plain else frozenset()
        if followed := [one for one in outcomes if one.is_followed]:
            async with get_db_context(self._database) as session:
                ended = await finish_in(session, worker, followed)
                await self.follow(session, ended)
            counted |= {one.id for one in ended}
        return counted

    async def finish_in(self, session: AsyncSession, worker: UUID, outcome: Outcome) -> bool:
        """The same for one job in the session's transaction. Raises JobFailed for a result that PostgreSQL refuses."""
        try:
            ended = await finish_in(session, worker, [outcome])
        except InvalidValue as error:
            raise JobFailed("Its result cannot be stored.") from error
        await self.follow(session, ended)
        return bool(ended)

    async def follow(self, session: AsyncSession, ended: Iterable[EndedJob]) -> None:
        """Tell the followers of those that have ended for good and that they are for."""
        over = [
            one for one in ended if one.status not in OPEN and (one.is_charged or one.webhook_id is not None)
        ]
        for follower in self.followers if over else ():
            await follower(session, over)

    async def beat(
        self,
        worker: WorkerInfo,
        running: Sequence[UUID],
        progress: Sequence[Progress],
        doubtful: Sequence[UUID] = (),
    ) -> Heartbeat:
        """A sign of life, and how far the jobs are."""
        return await self._workers.beat(worker, running, progress, doubtful)

    async def enter(self, worker: WorkerInfo) -> None:
        """A worker begins."""
        await self._workers.enter(worker)

    async def leave(self, worker: UUID) -> None:
        """A worker ends; what it still holds is queued again."""
        async with get_db_context(self._database) as session:
            await leave(session, worker)

    async def give_back(self, worker: UUID, ids: Sequence[UUID]) -> None:
        """Those of them that are this worker's are queued again."""
        await self._workers.give_back(worker, ids)

    async def recover(self, by: UUID | None, *, silent_s: float, most: int) -> Recovered:
        """Take the jobs of workers that are gone."""
        async with get_db_context(self._database) as session:
            found = await recover(session, by, silent_s=silent_s, most=most)
            await self.follow(session, found)
        queued = tuple(one.id for one in found if one.status == "queued")
        return Recovered(queued, tuple(one.id for one in found if one.status != "queued"))

    async def now(self) -> datetime:
        """The database's time."""
        return await self._rows.now()

    async def queues(self) -> list[str]:
        """The queues that have open jobs."""
        return await self._rows.queues()
