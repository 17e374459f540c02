"""Submits the job that sends, and follows the ends of jobs: of those that somebody wants to be told of, and of its own."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from app.builtin.jobs.repository import End, give_up, tell_of_end
from app.builtin.jobs.service.webhook_message import end_message, event_of
from app.core.db import AsyncSession
from app.core.jobs import SYSTEM, EndedJob, JobQueue
from app.core.resilience import Clock

DELIVER = "deliver_webhook"
"""The name of the job that sends. It is followed too, as if it had a webhook of its own: whatever ends it, its delivery ends with it."""


class WebhookQueue:
    """Into the session's transaction, always."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    async def submit(self, session: AsyncSession, delivery_id: UUID, run_id: UUID, endpoint_id: UUID) -> None:
        """The job of the id ``run_id`` sends this delivery."""
        arguments = {"delivery_id": delivery_id}
        await self._queue.enqueue_by_name(
            session, DELIVER, arguments, submitter=SYSTEM, webhook_id=endpoint_id, job_id=run_id
        )


class WebhookFollower:
    """A ``Follower``: one delivery for each end and webhook."""

    def __init__(self, queue: WebhookQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock

    async def __call__(self, session: AsyncSession, ended: Sequence[EndedJob]) -> None:
        """These have ended."""
        if lost := [one.id for one in ended if one.name == DELIVER and one.status != "succeeded"]:
            await give_up(session, lost)
        for one in ended:
            if one.webhook_id is not None and one.name != DELIVER:
                await self._tell(session, one)

    async def _tell(self, session: AsyncSession, job: EndedJob) -> None:
        delivery_id, run_id = uuid7(), uuid7()
        at = datetime.fromtimestamp(self._clock.time(), UTC)
        body = end_message(delivery_id, job, at)
        endpoint_id = await tell_of_end(session, End(delivery_id, run_id, job.id, event_of(job), body, at))
        if endpoint_id is not None:
            await self._queue.submit(session, delivery_id, run_id, endpoint_id)
