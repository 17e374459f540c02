"""Jobs as people see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.jobs.models import JobWorker, StoredJob
from app.core.db import translate_errors
from app.core.jobs import Status

JobRow = Row[*tuple[Any, ...]]


class Reach(NamedTuple):
    """Whose jobs somebody may touch. ``owner`` None: everybody's, of the tenant; ``tenant_id`` None then: of all tenants.
    ``is_of_any_tenant``: an owner's, whichever tenant he submitted them for.
    """

    owner: str | None
    tenant_id: str | None = None
    is_of_any_tenant: bool = False


class JobFilter(NamedTuple):
    """Which jobs; None leaves a side open. ``before``: an id, those that come after it in a list."""

    status: Status | None = None
    name: str | None = None
    queue: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    owner: str | None = None


_LINE = (
    StoredJob.id, StoredJob.name, StoredJob.queue, StoredJob.priority, StoredJob.owner, StoredJob.status, StoredJob.attempts,
    StoredJob.max_attempts, StoredJob.progress, StoredJob.note, StoredJob.error, StoredJob.created_at, StoredJob.run_at,
    StoredJob.started_at, StoredJob.finished_at, StoredJob.cancel_requested_at,
)  # fmt: skip
_WHOLE = (*_LINE, StoredJob.result, StoredJob.cost_micro, StoredJob.is_charged, StoredJob.webhook_id)
_EVERYTHING = (
    *_WHOLE, StoredJob.arguments, StoredJob.tenant_id, StoredJob.traceparent, StoredJob.published_at, StoredJob.worker_id,
    JobWorker.name.label("worker_name"),
)  # fmt: skip
# What is said beside the status, so that its partial indexes can serve: of dead ones that of a queue and that of all.
_KINDS: dict[Status, tuple[ColumnElement[bool], ...]] = {
    "queued": (StoredJob.is_open.expression,),
    "running": (StoredJob.is_open.expression,),
    "failed": (StoredJob.has_failed.expression,),
    "dead": (StoredJob.has_failed.expression, StoredJob.is_dead.expression),
}


class JobViews:
    """Jobs within somebody's reach, in one session. Raises our database errors."""

    def __init__(self, session: AsyncSession, reach: Reach) -> None:
        self._session = session
        self._reach = reach

    async def page(self, wanted: JobFilter, *, most: int) -> Sequence[JobRow]:
        """At most so many, the newest first; without results, which may be long."""
        statement = self._within(select(*_LINE)).order_by(StoredJob.id.desc()).limit(most)
        equal = (
            (StoredJob.name, wanted.name),
            (StoredJob.queue, wanted.queue),
            (StoredJob.owner, wanted.owner),
        )
        statement = statement.where(*(column == value for column, value in equal if value is not None))
        if wanted.status is not None:
            statement = statement.where(StoredJob.status == wanted.status, *_KINDS.get(wanted.status, ()))
        if wanted.since is not None:
            statement = statement.where(StoredJob.created_at >= wanted.since)
        if wanted.until is not None:
            statement = statement.where(StoredJob.created_at < wanted.until)
        if wanted.before is not None:
            statement = statement.where(StoredJob.id < wanted.before)
        with translate_errors():
            return (await self._session.execute(statement)).all()

    async def find(self, job_id: UUID) -> JobRow | None:
        """One job, with its result."""
        with translate_errors():
            return (await self._session.execute(self._one(job_id))).first()

    async def everything(self, job_id: UUID) -> JobRow | None:
        """One job with its arguments, its worker's name and what else operators look for."""
        statement = select(*_EVERYTHING).outerjoin(JobWorker, JobWorker.id == StoredJob.worker_id)
        with translate_errors():
            return (
                await self._session.execute(self._within(statement).where(StoredJob.id == job_id))
            ).first()

    async def lock(self, job_id: UUID) -> JobRow | None:
        """The same; nobody else changes it before the end of the transaction."""
        with translate_errors():
            return (await self._session.execute(self._one(job_id).with_for_update())).first()

    def _one(self, job_id: UUID) -> Select[*tuple[Any, ...]]:
        return self._within(select(*_WHOLE)).where(StoredJob.id == job_id)

    def _within(self, statement: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
        owner, tenant_id, is_of_any_tenant = self._reach
        if owner is not None and is_of_any_tenant:
            return statement.where(StoredJob.owner == owner)
        if owner is not None:
            return statement.where(
                StoredJob.owner == owner, StoredJob.tenant_id.is_not_distinct_from(tenant_id)
            )
        return statement if tenant_id is None else statement.where(StoredJob.tenant_id == tenant_id)
