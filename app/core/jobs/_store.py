"""Where the truth about jobs is: a feature brings it (``builtin/jobs``)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.core.db import AsyncSession
from app.core.jobs._records import (
    Added,
    ClaimedJob,
    Due,
    EndedJob,
    Heartbeat,
    NewJob,
    Outcome,
    Progress,
    Recovered,
    WorkerInfo,
)


class Follower(Protocol):
    """Acts on the end of jobs that are charged or have a webhook, in the transaction in which they end: what it raises undoes that."""

    async def __call__(self, session: AsyncSession, ended: Sequence[EndedJob], /) -> None:
        """These have ended."""


class JobStore(Protocol):
    """Rows of jobs. What takes a session is part of its transaction; everything else is a transaction of its own. Raises our database
    errors; an outage is 503.
    """

    async def add(self, session: AsyncSession, jobs: Sequence[NewJob]) -> list[Added]:
        """Write them; published once the session's transaction is there, never if it is not. In the order given."""

    async def mark_published(self, due: Sequence[Due]) -> None:
        """The broker has them."""

    async def unpublished(self, *, most: int) -> list[Due]:
        """Jobs that are due and that nobody has published, the oldest first; new ones when their own process had 2 seconds for it. Nobody
        else gets them for some seconds.
        """

    async def lost(self, queue: str, published_before: datetime, *, most: int) -> list[Due]:
        """Queued jobs that were published before that time: the broker has nothing so old any more, so their messages are gone."""

    async def claim(self, worker: UUID, ids: Sequence[UUID]) -> list[ClaimedJob]:
        """Those of them that are queued and due are this worker's now, their attempts one more. Others are left out: they run elsewhere,
        are done, cancelled, or wait for their time. Raises WorkerGivenUp when the worker is not there any more.
        """

    async def finish(self, worker: UUID, outcomes: Sequence[Outcome]) -> frozenset[UUID]:
        """Write how attempts ended, and what follows from it; the jobs for which that counted. One whose claim was lost is left out:
        somebody else has it.
        """

    async def finish_in(self, session: AsyncSession, worker: UUID, outcome: Outcome) -> bool:
        """The same for one job, inside the session's transaction, with what the job wrote. False: roll it back, the claim was lost. Raises
        JobFailed, after which the transaction is of no use, for a result that cannot be kept.
        """

    async def beat(
        self,
        worker: WorkerInfo,
        running: Sequence[UUID],
        progress: Sequence[Progress],
        doubtful: Sequence[UUID] = (),
    ) -> Heartbeat:
        """A sign of life, and how far the jobs are. ``doubtful``: jobs that may be the worker's without its knowing it."""

    async def enter(self, worker: WorkerInfo) -> None:
        """A worker begins."""

    async def leave(self, worker: UUID) -> None:
        """A worker ends. What it still holds is queued again, as if it had not been tried."""

    async def give_back(self, worker: UUID, ids: Sequence[UUID]) -> None:
        """Those of them that are this worker's are queued again, as if they had not been tried."""

    async def recover(self, by: UUID | None, *, silent_s: float, most: int) -> Recovered:
        """Take the jobs of workers that gave no sign of life for that long. Does nothing if the worker ``by`` gave none either, as after a
        pause of the store itself; None asks in nobody's name.
        """

    async def now(self) -> datetime:
        """The database's time."""

    async def queues(self) -> list[str]:
        """The queues that have open jobs."""
