"""Writing jobs, and finding those that the broker should know of."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.jobs.repository.queue_names import queue_names
from app.builtin.jobs.repository.submitters import packed_submitter
from app.core.db import Database, translate_errors
from app.core.jobs import Added, Due, NewJob, parcel_of

# A key that is taken by an open job gives that job's id back; locking it makes sure that it is still open when we say so.
_ADD = text("""
INSERT INTO jobs (id, name, queue, priority, owner, tenant_id, submitter, arguments, max_attempts, unique_key, traceparent, webhook_id,
    is_charged, run_at, publish_at)
VALUES (:id, :name, :queue, :priority, :owner, :tenant_id, CAST(:submitter AS jsonb), CAST(:arguments AS jsonb), :max_attempts, :unique_key,
    :traceparent, :webhook_id, :is_charged, coalesce(:run_at, statement_timestamp() + make_interval(secs => :delay_s)),
    coalesce(:run_at, statement_timestamp() + make_interval(secs => greatest(:delay_s, :own_s))))
ON CONFLICT DO NOTHING RETURNING publish_at
""")
_OPEN_ONE = text(
    "SELECT id FROM jobs WHERE (name = :name AND unique_key = :unique_key AND is_open) OR id = :id FOR SHARE"
)
_PUBLISHED = """
UPDATE jobs j SET publish_at = NULL, published_at = clock_timestamp()
FROM unnest(CAST($1 AS uuid[]), CAST($2 AS timestamptz[])) AS seen(id, publish_at) WHERE j.id = seen.id AND j.publish_at = seen.publish_at
"""
# Taken for some seconds: another relay that asks meanwhile gets others. The time is one that the index can look for, and the ids are an
# array, which is looked up in the index of ids: a join might read the whole table instead, twice a second.
_TAKE_DUE = """
UPDATE jobs SET publish_at = clock_timestamp() + make_interval(secs => 5) WHERE id = ANY (ARRAY(
    SELECT id FROM jobs WHERE publish_at <= statement_timestamp() ORDER BY publish_at LIMIT $1 FOR UPDATE SKIP LOCKED
)) AND status = 'queued' RETURNING id, queue, priority, publish_at
"""
_TAKE_LOST = """
UPDATE jobs SET publish_at = clock_timestamp() + make_interval(secs => 5) WHERE id = ANY (ARRAY(
    SELECT id FROM jobs WHERE queue = $1 AND is_open AND publish_at IS NULL AND published_at < $2 AND status = 'queued'
    ORDER BY published_at LIMIT $3 FOR UPDATE SKIP LOCKED
)) RETURNING id, queue, priority, publish_at
"""
_QUEUES = f"WITH RECURSIVE {queue_names('found', 'is_open')} SELECT queue FROM found WHERE queue IS NOT NULL"  # noqa: S608 - constants

OWN_S = 2.0
"""Seconds that the process of a new job has to publish it, before a relay does."""


class JobRows:
    """Rows of new jobs, and their messages. ``own_s``: see ``OWN_S``."""

    def __init__(self, database: Database, *, own_s: float = OWN_S) -> None:
        self._database = database
        self._own_s = own_s

    async def add(self, session: AsyncSession, new: NewJob) -> Added:
        """Insert it, or find the open one that stands for it."""
        values = new._asdict() | {"own_s": self._own_s, **packed_submitter(new.submitter)}
        values["arguments"] = new.arguments.decode()
        with translate_errors():
            while (publish_at := await session.scalar(_ADD, values)) is None:
                found = await session.scalar(_OPEN_ONE, values)
                if found is not None:  # else it ended between the two statements
                    return Added(found, is_new=False)
        return Added(new.id, is_new=True, publish_at=publish_at)

    async def mark_published(self, due: Sequence[Due]) -> None:
        """The broker has them."""
        # In the order in which a claim locks them: the first are being claimed by now, and the two would wait for each other.
        due = sorted(due, key=lambda one: one.id)
        await self._database.fetch(_PUBLISHED, [one.id for one in due], [one.publish_at for one in due])

    async def take_due(self, most: int) -> list[Due]:
        """Jobs that nobody has published in time."""
        return _due(await self._database.fetch(_TAKE_DUE, most))

    async def take_lost(self, queue: str, published_before: datetime, most: int) -> list[Due]:
        """The same of queued jobs that were published before that."""
        return _due(await self._database.fetch(_TAKE_LOST, queue, published_before, most))

    async def queues(self) -> list[str]:
        """The queues that have open jobs."""
        return [queue for (queue,) in await self._database.fetch(_QUEUES)]

    async def now(self) -> datetime:
        """The database's time."""
        ((now,),) = await self._database.fetch("SELECT clock_timestamp()")
        found: datetime = now
        return found


def _due(rows: Iterable[tuple[Any, ...]]) -> list[Due]:
    return [Due(job_id, parcel_of(job_id, queue, priority), at) for job_id, queue, priority, at in rows]
