"""Work without a request: jobs, which are submitted, and periodic work, which is done again and again."""

from app.core.jobs._broker import PRIORITIES, JobBroker, Message, Parcel, Priority, QueueDepth
from app.core.jobs._cron import Cron
from app.core.jobs._default_queue import configure_jobs, default_queue, publish_job_to_pulsar
from app.core.jobs._errors import (
    AttemptFailed,
    ClaimLost,
    HandlerFailed,
    JobFailed,
    JobRejected,
    UnknownJob,
    WorkerGivenUp,
)
from app.core.jobs._job import Catalog, Job, job
from app.core.jobs._options import WORK, JobOptions
from app.core.jobs._publisher import Publisher
from app.core.jobs._queue import JobQueue, parcel_of
from app.core.jobs._records import (
    OPEN,
    STATUSES,
    Added,
    ClaimedJob,
    Due,
    EndedJob,
    Heartbeat,
    NewJob,
    Outcome,
    Progress,
    Recovered,
    Status,
    WorkerInfo,
)
from app.core.jobs._run import JobRun, Reports
from app.core.jobs._schedule import Schedule, id_at
from app.core.jobs._store import Follower, JobStore
from app.core.jobs.periodic import Periodic, PeriodicRunner, upkeep
from app.core.jobs.pool import ProcessPool
from app.core.jobs.valkey import ValkeyBroker
from app.core.jobs.worker import (
    SYSTEM,
    Crew,
    Execution,
    KnownSubmitters,
    Processes,
    Relay,
    RunReports,
    SubmitterGone,
    Submitters,
    Worker,
    WorkerOptions,
    run_until_told,
)

__all__ = [
    "OPEN",
    "PRIORITIES",
    "STATUSES",
    "SYSTEM",
    "WORK",
    "Added",
    "AttemptFailed",
    "Catalog",
    "ClaimLost",
    "ClaimedJob",
    "Crew",
    "Cron",
    "Due",
    "EndedJob",
    "Execution",
    "Follower",
    "HandlerFailed",
    "Heartbeat",
    "Job",
    "JobBroker",
    "JobFailed",
    "JobOptions",
    "JobQueue",
    "JobRejected",
    "JobRun",
    "JobStore",
    "KnownSubmitters",
    "Message",
    "NewJob",
    "Outcome",
    "Parcel",
    "Periodic",
    "PeriodicRunner",
    "Priority",
    "ProcessPool",
    "Processes",
    "Progress",
    "Publisher",
    "QueueDepth",
    "Recovered",
    "Relay",
    "Reports",
    "RunReports",
    "Schedule",
    "Status",
    "SubmitterGone",
    "Submitters",
    "UnknownJob",
    "ValkeyBroker",
    "Worker",
    "WorkerGivenUp",
    "WorkerInfo",
    "WorkerOptions",
    "configure_jobs",
    "default_queue",
    "id_at",
    "job",
    "parcel_of",
    "publish_job_to_pulsar",
    "run_until_told",
    "upkeep",
]
