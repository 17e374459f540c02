"""Many jobs that run again at once."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Final
from uuid import UUID

from app.builtin.jobs.repository import Reach
from app.builtin.jobs.schemas import JobQuery
from app.builtin.jobs.service.desk import JobDesk
from app.core.db import Database, get_db_context
from app.core.errors import Conflict, EntityNotFoundError, PolicyRejected
from app.core.resilience import Clock

MOST_AGAIN: Final = 1000
_PAGE = 100
_LONGEST_S = 20.0


@dataclass(slots=True)
class RetryReport:
    """done: queued again. refused: why others were not, by id. left: there are more, that were not asked for."""

    done: int = 0
    refused: dict[UUID, str] = field(default_factory=dict)
    left: bool = False

    @property
    def seen(self) -> int:
        """How many were asked for."""
        return self.done + len(self.refused)

    @property
    def reasons(self) -> dict[str, int]:
        """Why some were refused, and how many for that."""
        return dict(Counter(self.refused.values()))


class BulkRetry:
    """Has dead jobs run again, those that were submitted last: at most ``most`` at a time and for at most 20 seconds of ``clock``; or all
    that somebody names. Each in a transaction of its own, so that one that is refused stops no other. Raises our database errors; what was
    done until then stays so.
    """

    def __init__(self, database: Database, desk: JobDesk, clock: Clock, *, most: int = MOST_AGAIN) -> None:
        self._database = database
        self._desk = desk
        self._clock = clock
        self.most = most

    async def retry_dead(self, reach: Reach, query: JobQuery, owner: str | None = None) -> RetryReport:
        """The dead ones that the query finds."""
        until = self._clock.monotonic() + _LONGEST_S
        asked, ran = query.model_copy(update={"status": "dead"}), RetryReport()
        while ran.seen < self.most and self._clock.monotonic() < until:
            asked = asked.model_copy(update={"limit": min(_PAGE, self.most - ran.seen)})
            async with get_db_context(self._database) as session:
                found = await self._desk.page(session, reach, asked, owner)
            await self._run(ran, reach, [job.id for job in found.items], until)
            if ran.left or found.next_cursor is None:
                return ran
            asked = asked.model_copy(update={"cursor": found.next_cursor})
        ran.left = True
        return ran

    async def retry_these(
        self, reach: Reach, job_ids: Iterable[UUID], *, report: Callable[[int], None] = lambda _seen: None
    ) -> RetryReport:
        """All of these, in this order, however long it takes; failed and cancelled ones too. ``report`` is told after each how many were
        asked for.
        """
        ran = RetryReport()
        for job_id in job_ids:
            await self._run(ran, reach, [job_id], inf)
            report(ran.seen)
        return ran

    async def _run(self, ran: RetryReport, reach: Reach, job_ids: Iterable[UUID], until: float) -> None:
        for job_id in job_ids:
            if self._clock.monotonic() >= until:
                ran.left = True
                return
            try:
                async with get_db_context(self._database) as session:
                    await self._desk.retry(session, reach, job_id)
                ran.done += 1
            except (Conflict, EntityNotFoundError, PolicyRejected) as error:
                ran.refused[job_id] = error.detail or error.title
