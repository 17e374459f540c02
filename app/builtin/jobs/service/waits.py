"""Waiting for a job on behalf of a caller: until it has ended, or event by event. No connection is held meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple
from uuid import UUID

from app.builtin.jobs.repository import JobState, Reach
from app.builtin.jobs.schemas import JobOut
from app.builtin.jobs.service.desk import JobDesk
from app.builtin.jobs.service.watch import JobWatch
from app.core.db import Database, get_read_db_context


class JobUpdate(NamedTuple):
    """``status``: that, or the number of its attempts, is new; ``progress``: how far it is; ``end``: it has ended, ``job`` is all of it."""

    kind: Literal["status", "progress", "end"]
    state: JobState
    job: JobOut | None = None


class JobWaits:
    """Looks at jobs, and waits for them, in short transactions of its own, of which ``most_looks`` are open at a time: hundreds who wake at
    once must not keep all others, and the watch itself, from a connection. Everything raises JobNotFound (404), and Unavailable (503) while
    the database does not answer.
    """

    def __init__(self, database: Database, desk: JobDesk, watch: JobWatch, *, most_looks: int = 4) -> None:
        self._database = database
        self._desk = desk
        self._watch = watch
        self._looks = asyncio.Semaphore(most_looks)

    @property
    def waiting(self) -> int:
        """How many wait in this process now."""
        return self._watch.waiting

    def seat(self, caller: str) -> AbstractContextManager[None]:
        """A place among those who may wait; hold it while you do. Raises WatchIsFull (503), TooManyWaits (429)."""
        return self._watch.seat(caller)

    async def look(self, reach: Reach, job_id: UUID) -> JobOut:
        """One job, as committed last."""
        async with self._looks, get_read_db_context(self._database, fresh=True) as session:
            return await self._desk.show(session, reach, job_id)

    async def until_ended(self, reach: Reach, job: JobOut, wait_s: float) -> JobOut:
        """The job as soon as it has ended, or as it stands when ``wait_s`` seconds are over or the process stops."""
        state = state_of(job)
        if not state.is_open:
            return job
        with self._watch.watching(job.id, state, wait_s) as watching:
            while (seen := await watching.next()) is not None and seen.is_open:
                pass
        return await self.look(reach, job.id)

    async def events(self, reach: Reach, job: JobOut, wait_s: float) -> AsyncIterator[JobUpdate]:
        """How the job stands, then what changes, then its end; without an end when ``wait_s`` seconds are over or the process stops."""
        known = state_of(job)
        yield JobUpdate("status", known) if known.is_open else JobUpdate("end", known, job)
        if not known.is_open:
            return
        with self._watch.watching(job.id, known, wait_s) as watching:
            while (seen := await watching.next()) is not None and seen.is_open:
                is_new = (seen.status, seen.attempts) != (known.status, known.attempts)
                yield JobUpdate("status" if is_new else "progress", seen)
                known = seen
        job = await self.look(reach, job.id)
        if not (known := state_of(job)).is_open:
            yield JobUpdate("end", known, job)


def state_of(job: JobOut) -> JobState:
    """What of it changes."""
    return JobState(job.status, job.attempts, job.progress, job.note)
