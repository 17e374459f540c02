"""What jobs do: the store for workers, the state of jobs for people."""

from app.builtin.jobs.repository import Reach
from app.builtin.jobs.service.bulk_retry import BulkRetry, RetryReport
from app.builtin.jobs.service.charges import JobCharges, charge_key
from app.builtin.jobs.service.desk import ACT, EVERYBODYS, LOOK, JobDesk, JobNotFound, reach_of
from app.builtin.jobs.service.provide import provide_jobs
from app.builtin.jobs.service.queues import QueueDesk, QueueOptions
from app.builtin.jobs.service.sight import JobSight, see, without_secrets
from app.builtin.jobs.service.store import PostgresJobStore
from app.builtin.jobs.service.waits import JobUpdate, JobWaits
from app.builtin.jobs.service.watch import JobWatch, TooManyWaits, WatchIsFull
from app.builtin.jobs.service.webhook_deliverer import Deliverer
from app.builtin.jobs.service.webhook_queue import DELIVER
from app.builtin.jobs.service.webhooks import WebhookDesk

__all__ = [
    "ACT",
    "DELIVER",
    "EVERYBODYS",
    "LOOK",
    "BulkRetry",
    "Deliverer",
    "JobCharges",
    "JobDesk",
    "JobNotFound",
    "JobSight",
    "JobUpdate",
    "JobWaits",
    "JobWatch",
    "PostgresJobStore",
    "QueueDesk",
    "QueueOptions",
    "Reach",
    "RetryReport",
    "TooManyWaits",
    "WatchIsFull",
    "WebhookDesk",
    "charge_key",
    "provide_jobs",
    "reach_of",
    "see",
    "without_secrets",
]
