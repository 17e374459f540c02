"""Submits the jobs that run at times of their own, once each time, whoever does it and however often."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog

from app.core.db import Database, get_db_context
from app.core.errors import Unavailable
from app.core.jobs._job import Job
from app.core.jobs._queue import JobQueue
from app.core.jobs._store import JobStore

_log = structlog.get_logger(__name__)


class Schedule:
    """One pass submits what became due, by the database's clock. ``catch_up_s``: a time that was missed, because nobody was there, is made
    up for within so many seconds; of several only the last.
    """

    def __init__(
        self, database: Database, store: JobStore, queue: JobQueue, *, catch_up_s: float = 3600.0
    ) -> None:
        self._database = database
        self._store = store
        self._queue = queue
        self._catch_up = timedelta(seconds=catch_up_s)
        self._submitted: dict[str, datetime] = {}

    async def submit(self) -> list[UUID]:
        """The ids of what was submitted now. Asks the database only if some job has times of its own."""
        timed = [job for job in self._queue.catalog if job.cron is not None]
        if not timed:
            return []
        now = await self._store.now()
        added = [await self._submit_or_log(job, now) for job in timed]
        return [one for one in added if one is not None]

    async def _submit_or_log(self, job: Job[Any], now: datetime) -> UUID | None:
        """One that cannot be submitted must not keep the others from it."""
        try:
            return await self._submit(job, now)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - the outermost frame of one job's turn
            _log.exception("jobs.not_scheduled", job=job.name)
            return None

    async def _submit(self, job: Job[Any], now: datetime) -> UUID | None:
        at = job.cron.last(now, within=self._catch_up) if job.cron is not None else None
        if at is None or self._submitted.get(job.name) == at:
            return None
        async with get_db_context(self._database) as session:
            added = await self._queue.enqueue(session, job, job.arguments(), job_id=id_at(job.name, at))
        self._submitted[job.name] = at
        return added.id if added.is_new else None


def id_at(name: str, at: datetime) -> UUID:
    """The id of a job's run at that time: the same for everybody, so that the second who submits it adds nothing. A version 7 UUID of the
    time, whose random part is a hash.
    """
    milliseconds = int(at.timestamp() * 1000)
    noise = int.from_bytes(sha256(f"{name} {milliseconds}".encode()).digest()[:10])
    value = milliseconds << 80 | 0x7 << 76 | (noise >> 68 & 0xFFF) << 64 | 0b10 << 62 | noise & (1 << 62) - 1
    return UUID(int=value)
