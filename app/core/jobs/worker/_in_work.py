"""What a worker has in its hands."""

import asyncio
from uuid import UUID

from app.core.jobs._records import ClaimedJob
from app.core.jobs.worker._execution import RunReports


class InWork:
    """A job in work: by which worker it was claimed, its task, and why that was cancelled, if it was."""

    __slots__ = ("claimed", "reason", "reports", "task", "worker")

    def __init__(self, claimed: ClaimedJob, worker: UUID) -> None:
        self.claimed = claimed
        self.worker = worker
        self.reports = RunReports()
        self.reason = ""
        self.task: asyncio.Task[None] | None = None
