"""What is known of a job, as it goes between the store and those who run it. All frozen; times are the database's."""

from datetime import datetime
from typing import Literal, NamedTuple, get_args
from uuid import UUID

from app.core.context import Principal
from app.core.jobs._broker import Parcel, Priority

Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "dead"]
STATUSES: tuple[Status, ...] = get_args(Status)
OPEN: tuple[Status, ...] = ("queued", "running")


class NewJob(NamedTuple):
    """A job to be. ``delay_s``: seconds until it may run, by the database's clock; ``run_at`` instead: the time itself. ``unique_key``:
    while another job of this name with this key is open, that one stands for this. ``is_charged``: its submitter pays, under its id.
    """

    id: UUID
    name: str
    queue: str
    arguments: bytes
    submitter: Principal | None
    priority: Priority = "normal"
    max_attempts: int = 5
    delay_s: float = 0.0
    run_at: datetime | None = None
    unique_key: str | None = None
    traceparent: str | None = None
    webhook_id: UUID | None = None
    is_charged: bool = False


class Added(NamedTuple):
    """``id``: of the job, or of the one that stood for it already (``is_new`` is False then). ``publish_at``: when a relay publishes it,
    unless somebody has done so before.
    """

    id: UUID
    is_new: bool
    publish_at: datetime | None = None


class Due(NamedTuple):
    """A job that the broker should know of. ``publish_at`` is the row's as it was seen: noting the publication takes back this one only,
    and not one that was asked for since, by a run that is to be repeated.
    """

    id: UUID
    parcel: Parcel
    publish_at: datetime


class ClaimedJob(NamedTuple):
    """A job that is ours to run. ``attempt`` counts from 1; with the worker it names the claim. ``waited_s``: since it was due.

    ``is_followed``: something follows from its end, such as a refund or a webhook.
    """

    id: UUID
    name: str
    queue: str
    attempt: int
    max_attempts: int
    arguments: bytes
    submitter: Principal | None
    traceparent: str | None
    waited_s: float
    is_followed: bool = False


class Outcome(NamedTuple):
    """How an attempt ended. ``queued``: again after ``delay_s`` seconds, ``is_attempt`` False: as if it had not been tried.

    ``result`` is JSON; ``error`` is for people, at most 2,000 characters are kept. ``cost_micro``: what it cost its submitter in the end,
    in micro-credits; None: what was charged when it was submitted. ``note``: the last words about its progress; None: those that are known.
    """

    job_id: UUID
    attempt: int
    status: Status
    result: bytes | None = None
    error: str | None = None
    delay_s: float = 0.0
    is_attempt: bool = True
    cost_micro: int | None = None
    is_followed: bool = False
    note: str | None = None


class EndedJob(NamedTuple):
    """A job that has ended for good, for those who act on that (``Follower``). ``charge_no``: which of its charges is the newest, 0 the
    first.
    """

    id: UUID
    name: str
    status: Status
    submitter: Principal | None
    is_charged: bool
    cost_micro: int | None
    webhook_id: UUID | None
    result: bytes | None
    error: str | None
    charge_no: int = 0


class Progress(NamedTuple):
    """How far a running job is, 0 to 1, and a few words about it."""

    job_id: UUID
    attempt: int
    fraction: float
    note: str | None = None


class Heartbeat(NamedTuple):
    """What the store answers to a worker's sign of life. ``is_known`` False: it was taken for dead, and its jobs are somebody else's now.

    ``cancelled``: those of its running jobs that somebody wants ended. ``own``: of the doubtful ones, those that are its own.
    """

    is_known: bool
    cancelled: frozenset[UUID]
    own: frozenset[UUID] = frozenset()


class WorkerInfo(NamedTuple):
    """A worker as others see it. ``name``: host and process, for people."""

    id: UUID
    name: str
    queues: tuple[str, ...]
    concurrency: int
    processes: int


class Recovered(NamedTuple):
    """What became of the jobs of workers that are gone: ``requeued`` will run again, ``dead`` had no attempts left."""

    requeued: tuple[UUID, ...]
    dead: tuple[UUID, ...]
