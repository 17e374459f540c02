"""The jobs of jobs, and what is done for them again and again."""

from uuid import UUID

from pydantic import BaseModel

from app.builtin.jobs.service import DELIVER, Deliverer, QueueDesk
from app.core.http import Platform
from app.core.jobs import Catalog, Job, JobRun, Periodic, Schedule, job
from app.core.policies import JobConfig

MEASURE_S, PURGE_S, SCHEDULE_S = 15.0, 300.0, 1.0
DELIVERY = JobConfig(rate_limit=None, timeout=30)
"""Longer than a call may take. Breakers are per host, and the deliverer's."""


class WebhookMessage(BaseModel):
    """Which message to send."""

    delivery_id: UUID


# Doubling from 5 seconds takes 11 pauses to get to an hour: a receiver may be away for between one and two and a half hours.
@job(DELIVER, queue="webhooks", attempts=12, backoff_s=5, longest_backoff_s=3600, config=DELIVERY)
async def deliver_webhook(arguments: WebhookMessage, run: JobRun) -> None:
    """Send a message to a webhook."""
    await run.require(Deliverer).deliver(arguments.delivery_id, run.id)


JOBS: tuple[Job[WebhookMessage], ...] = (deliver_webhook,)


def periodic(platform: Platform) -> tuple[Periodic, ...]:
    """Every process looks every 15 s at how the queues stand, for its metrics; one of all deletes every 5 minutes what ended long ago, and
    submits every second the jobs whose time has come, where there are such jobs.
    """
    queues = platform.require(QueueDesk)
    timed = any(job.cron is not None for job in platform.require(Catalog))
    schedule = (Periodic(name="jobs.schedule", every_s=SCHEDULE_S, work=platform.require(Schedule).submit),)
    return (
        Periodic(name="jobs.queues", every_s=MEASURE_S, work=queues.measure, leader=False, limit_s=10),
        Periodic(name="jobs.purge", every_s=PURGE_S, work=queues.purge, limit_s=240),
        *(schedule if timed else ()),
    )
