"""Submitting jobs: into the caller's transaction, published when it is there."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel
from uuid_utils.compat import uuid7

from app.core.context import Principal, current_context
from app.core.db import AsyncSession
from app.core.errors import ConfigurationError
from app.core.jobs._broker import Parcel, Priority
from app.core.jobs._errors import JobRejected, UnknownJob
from app.core.jobs._job import Catalog, Job
from app.core.jobs._keepable import LONGEST_PAUSE_S
from app.core.jobs._publisher import Publisher
from app.core.jobs._records import Added, Due, NewJob
from app.core.jobs._store import JobStore
from app.core.observability import current_traceparent
from app.core.policies import charge_as, pays_in
from app.core.resilience import Clock, SystemClock

A = TypeVar("A", bound=BaseModel)
_MOST_KEY = 200


class JobQueue:
    """Where handlers and jobs submit jobs. One per application."""

    def __init__(
        self, store: JobStore, publisher: Publisher, catalog: Catalog, *, clock: Clock | None = None
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock or SystemClock()
        self.catalog = catalog

    async def enqueue(
        self,
        session: AsyncSession,
        job: Job[A],
        arguments: A,
        *,
        delay_s: float = 0.0,
        run_at: datetime | None = None,
        priority: Priority | None = None,
        unique_key: str | None = None,
        submitter: Principal | None = None,
        webhook_id: UUID | None = None,
        is_charged: bool = False,
        job_id: UUID | None = None,
    ) -> Added:
        """Submit a job in the session's transaction: it exists if that is committed, and never if it is not.

        delay_s, run_at: not before that many seconds from now, or that time, which has a zone; both up to 366 days away. unique_key: up to
        200 characters; while a job of this name and key is open, its id is returned and nothing is added. submitter: on whose behalf; by
        default the context's, nobody outside of a request. webhook_id: who is told of its end. job_id: its id, where it must be the same
        however often it is submitted; a UUID of version 7, whose time is what old jobs are found by.

        In a handler whose policy has credits, what the request costs is the price of the first job that it submits in its own session: it
        is charged under the job's id, in this transaction, and given back if the job fails, dies or is cancelled. A job that is there
        already costs nothing. is_charged: somebody has written a debit under the job's id himself.

        Raises JobRejected (422) for arguments and options that make no sense; ValueError for another ``job_id``, which is the caller's
        mistake and nobody's wish.
        """
        if job.options.unique is not None and unique_key is None:
            unique_key = job.options.unique(arguments)
        _check_key(job.name, unique_key)
        self._check_time(job.name, delay_s, run_at)
        if job_id is not None and job_id.version != 7:
            raise ValueError("job_id must be a UUID of version 7")
        context = current_context()
        new = NewJob(
            id=job_id or uuid7(),
            name=job.name,
            queue=job.options.queue,
            arguments=job.pack(arguments),
            submitter=submitter or context.principal,
            priority=priority or job.options.priority,
            max_attempts=job.options.attempts,
            delay_s=delay_s,
            run_at=run_at,
            unique_key=unique_key,
            traceparent=current_traceparent(context.traceparent),
            webhook_id=webhook_id,
            is_charged=is_charged,
        )
        return await self._submit(session, new)

    async def _submit(self, session: AsyncSession, new: NewJob) -> Added:
        """Write it, have it paid for by the request that it belongs to, and published when it is there."""
        pays = not new.is_charged and pays_in(session)
        (added,) = await self._store.add(session, [new._replace(is_charged=True)] if pays else [new])
        if pays:  # for the first job that a request begins; for none, if that is there already
            charge_as(str(new.id) if added.is_new else None, session)
        if added.publish_at is not None and not new.delay_s and new.run_at is None:
            due = Due(new.id, parcel_of(new.id, new.queue, new.priority), added.publish_at)
            self._publisher.add_after_commit(session, due)
        return added

    async def enqueue_payload(self, session: AsyncSession, payload: BaseModel, **options: Any) -> Added:
        """The same for the one declared job that takes arguments of this model: for routers, which do not import jobs. Raises
        ConfigurationError when no job takes them, or more than one does.
        """
        if (job := self.catalog.taking(payload)) is None:
            raise ConfigurationError(
                f"Not exactly one declared job takes {type(payload).__name__}: declare it with @job, and name it in the registry; "
                "of several, submit the one that is meant with JobQueue.enqueue"
            )
        return await self.enqueue(session, job, payload, **options)

    async def enqueue_by_name(
        self, session: AsyncSession, name: str, arguments: Mapping[str, Any], **options: Any
    ) -> Added:
        """The same for a job that is known by name only. Raises UnknownJob (422), JobRejected (422)."""
        job = self.catalog.get(name)
        if job is None:
            raise UnknownJob(f"There is no job {name!r}.")
        return await self.enqueue(session, job, job.check(arguments), **options)

    def _check_time(self, name: str, delay_s: float, run_at: datetime | None) -> None:
        """By our own clock: a bound of a year need not be exact."""
        if not 0 <= delay_s <= LONGEST_PAUSE_S:
            raise JobRejected(
                f"The delay of {name} must be 0 to {LONGEST_PAUSE_S:,.0f} seconds, not {delay_s}."
            )
        if run_at is None:
            return
        if delay_s or run_at.utcoffset() is None:
            raise JobRejected(f"run_at of {name} needs a time zone, and no delay beside it.")
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        if abs((run_at - now).total_seconds()) > LONGEST_PAUSE_S:
            days = LONGEST_PAUSE_S / 86_400
            raise JobRejected(f"run_at of {name} must be within {days:.0f} days of now, not {run_at}.")


def parcel_of(job_id: UUID, queue: str, priority: Priority) -> Parcel:
    """What the broker carries of a job: its id. Everything else may have changed by the time it arrives."""
    return Parcel(queue, job_id.bytes, priority)


def _check_key(name: str, unique_key: str | None) -> None:
    if unique_key is not None and not 0 < len(unique_key) <= _MOST_KEY:
        raise JobRejected(f"The unique key of {name} must have 1 to {_MOST_KEY} characters.")
