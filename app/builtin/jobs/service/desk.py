"""What people do with jobs: look at them, end them, have them run again. Routes, pages and commands ask here."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from app.builtin.jobs.repository import JobChanges, JobFilter, JobViews, Reach
from app.builtin.jobs.schemas import JobLine, JobOut, JobPage, JobQuery
from app.builtin.jobs.service.store import PostgresJobStore
from app.core.context import Principal
from app.core.db import AsyncSession, ConstraintViolated
from app.core.errors import Conflict, EntityNotFoundError
from app.core.jobs import Publisher

LOOK, ACT = "read:jobs", "write:jobs"
"""The scopes of operators: to see everybody's jobs, and to cancel and retry them."""

EVERYBODYS = Reach(None)
"""The reach of somebody at the command line."""

_AGAIN = ("failed", "dead", "cancelled")
Charge = Callable[[AsyncSession, UUID], Awaitable[None]]


class JobNotFound(EntityNotFoundError):
    """There is no such job within the caller's reach; somebody else's is none of his business."""

    def __init__(self) -> None:
        super().__init__("Job not found")


def reach_of(caller: Principal, scope: str) -> Reach:
    """Whose jobs the caller may touch: his own, and everybody's (of his tenant, if he has one) with the scope of operators."""
    return Reach(None if scope in caller.scopes else caller.id, caller.tenant_id)


class JobDesk:
    """Jobs for people, in the request's session; nothing is committed here. ``charge_again`` takes the price of a job that was given back,
    in the transaction that has it run again; without it, such jobs cannot be retried. All raise JobNotFound (404) and our database errors.
    """

    def __init__(
        self, store: PostgresJobStore, publisher: Publisher, *, charge_again: Charge | None = None
    ) -> None:
        self._store = store
        self._publisher = publisher
        self.charge_again = charge_again

    async def page(
        self, session: AsyncSession, reach: Reach, query: JobQuery, owner: str | None = None
    ) -> JobPage:
        """Jobs, the newest first, and where the next page starts if there is one. ``owner``: only his, within the reach."""
        wanted = JobFilter(
            query.status, query.name, query.queue, query.since, query.until, query.cursor, owner
        )
        found = await JobViews(session, reach).page(wanted, most=query.limit + 1)
        items = [JobLine.model_validate(row) for row in found[: query.limit]]
        return JobPage(items=items, next_cursor=items[-1].id if len(found) > query.limit else None)

    async def show(self, session: AsyncSession, reach: Reach, job_id: UUID) -> JobOut:
        """One job."""
        return _shown(await JobViews(session, reach).find(job_id))

    async def cancel(self, session: AsyncSession, reach: Reach, job_id: UUID) -> JobOut:
        """End a job: one that is queued at once, with all that follows from its end; one that runs within a second or so, by its worker.

        Raises Conflict (409) for one that has ended, unless it was cancelled: then that is the answer.
        """
        job = _shown(await JobViews(session, reach).lock(job_id))
        changes = JobChanges(session)
        if job.status == "queued":
            await self._store.follow(session, await changes.cancel_queued(job_id))
        elif job.status == "running":
            await changes.ask_to_end(job_id)
        elif job.status != "cancelled":
            raise Conflict(
                f"The job has ended already: it is {job.status}.", extensions={"job_status": job.status}
            )
        return await self.show(session, reach, job_id)

    async def retry(self, session: AsyncSession, reach: Reach, job_id: UUID) -> JobOut:
        """Run a job again that has failed, is dead or was cancelled: with all its attempts, and on behalf of whoever submitted it.

        Raises Conflict (409) for others, for one whose unique key another open job has, and for one whose price was given back and cannot
        be taken again; InsufficientCredits (402) when there are too few for it.
        """
        views = JobViews(session, reach)
        row = await views.lock(job_id)
        job = _shown(row)
        if job.status not in _AGAIN:
            raise Conflict(
                f"Only a job that failed or was cancelled runs again; this one is {job.status}.",
                extensions={"job_status": job.status},
            )
        await self._take_price(session, row)
        try:
            due = await JobChanges(session).run_again(job_id)
        except ConstraintViolated as refusal:
            raise Conflict("Another job with its unique key is open.") from refusal
        self._publisher.add_after_commit(session, due)
        return await self.show(session, reach, job_id)

    async def _take_price(self, session: AsyncSession, row: Any) -> None:
        if not row.is_charged:
            return
        if self.charge_again is None:
            raise Conflict("Its price was given back when it ended: submit it anew.")
        await self.charge_again(session, row.id)


def _shown(row: Any) -> JobOut:
    if row is None:
        raise JobNotFound
    return JobOut.model_validate(row)
