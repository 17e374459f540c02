"""Workers: their signs of life, and what becomes of the jobs of those that are gone."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.jobs.repository.ends import ENDED_COLUMNS, ended_of
from app.core.db import Database, translate_errors
from app.core.jobs import EndedJob, Heartbeat, Progress, WorkerInfo

_ENTER = """
INSERT INTO job_workers (id, name, queues, concurrency, processes) VALUES ($1, $2, CAST($3 AS text[]), $4, $5) ON CONFLICT DO NOTHING
"""
# A job whose worker nobody knows, which only a hand in the tables can bring about, would stay for ever: such a worker is given up. Reads
# all open jobs, and is asked only when a worker begins. In one order, so that two that begin at once do not wait for each other.
_GIVE_UP_STRANGERS = """
INSERT INTO job_workers (id, name, queues, concurrency, processes, is_gone)
SELECT DISTINCT worker_id, 'unknown', CAST('{}' AS text[]), 0, 0, true FROM jobs
WHERE is_open AND worker_id IS NOT NULL AND NOT EXISTS (SELECT FROM job_workers w WHERE w.id = worker_id)
ORDER BY worker_id ON CONFLICT DO NOTHING
"""
# A row that somebody has locked is passed over: who waits for him gives no sign of life.
_BEAT = """
WITH seen AS (
    UPDATE job_workers SET seen_at = clock_timestamp(), running = $2 WHERE id = $1 AND NOT is_gone RETURNING id
), told AS (
    UPDATE jobs j SET progress = p.fraction, note = p.note
    FROM unnest(CAST($3 AS uuid[]), CAST($4 AS int[]), CAST($5 AS float8[]), CAST($6 AS text[])) AS p(id, attempt, fraction, note)
    WHERE j.id = p.id AND j.attempts = p.attempt AND j.worker_id = $1
        AND j.id IN (SELECT id FROM jobs WHERE id = ANY ($3) AND worker_id = $1 FOR NO KEY UPDATE SKIP LOCKED)
)
SELECT EXISTS (SELECT 1 FROM seen),
    ARRAY(SELECT id FROM jobs WHERE id = ANY (CAST($7 AS uuid[])) AND worker_id = $1 AND cancel_requested_at IS NOT NULL),
    ARRAY(SELECT id FROM jobs WHERE id = ANY (CAST($8 AS uuid[])) AND worker_id = $1)
"""
_REQUEUE = "status = 'queued', worker_id = NULL, run_at = clock_timestamp(), publish_at = clock_timestamp(), progress = NULL"
# No index knows whose a job is: this reads all open ones, and is asked only when a worker ends.
_LEAVE = text(f"UPDATE jobs SET {_REQUEUE}, attempts = attempts - 1 WHERE is_open AND worker_id = :worker")  # noqa: S608 - constants
_GIVE_BACK = (
    f"UPDATE jobs SET {_REQUEUE}, attempts = attempts - 1 WHERE worker_id = $1 AND id = ANY ($2::uuid[])"  # noqa: S608 - constants
)
# Who asks must himself have been heard of lately, when the statement runs: a server that was frozen, and the statement with it, has heard
# of nobody.
_GIVE_UP = text("""
UPDATE job_workers SET is_gone = true WHERE id IN (
    SELECT id FROM job_workers WHERE is_gone OR seen_at < clock_timestamp() - make_interval(secs => :silent_s)
    ORDER BY id FOR UPDATE SKIP LOCKED
) AND (
    CAST(:by AS uuid) IS NULL OR EXISTS (
        SELECT FROM job_workers WHERE id = :by AND NOT is_gone AND seen_at >= clock_timestamp() - make_interval(secs => :silent_s / 2)
    )
) RETURNING id
""")
_TAKE_OUT = text("DELETE FROM job_workers WHERE id = ANY (:workers)")
# The rows are locked in one order, so that two that recover at once do not wait for each other.
_RECOVER = text(f"""
UPDATE jobs j SET worker_id = NULL, status = o.status, progress = NULL,
    error = 'The worker went away.',
    run_at = CASE WHEN o.status = 'queued' THEN clock_timestamp() ELSE j.run_at END,
    publish_at = CASE WHEN o.status = 'queued' THEN clock_timestamp() END,
    finished_at = CASE WHEN o.status = 'queued' THEN NULL ELSE clock_timestamp() END
FROM (
    SELECT id, CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled' WHEN attempts >= max_attempts THEN 'dead' ELSE 'queued' END
        AS status
    FROM jobs WHERE is_open AND worker_id = ANY (:gone) ORDER BY id LIMIT :most FOR UPDATE
) AS o WHERE j.id = o.id RETURNING {ENDED_COLUMNS}
""")  # noqa: S608 - a constant of this package


class WorkerRows:
    """Rows of workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, worker: WorkerInfo) -> None:
        """A worker begins."""
        await self._database.fetch(
            _ENTER, worker.id, worker.name, list(worker.queues), worker.concurrency, worker.processes
        )
        await self._database.fetch(_GIVE_UP_STRANGERS)

    async def beat(
        self,
        worker: WorkerInfo,
        running: Sequence[UUID],
        progress: Sequence[Progress],
        doubtful: Sequence[UUID],
    ) -> Heartbeat:
        """A sign of life, and how far its jobs are; one round trip."""
        ((is_known, cancelled, own),) = await self._database.fetch(
            _BEAT,
            worker.id,
            len(running),
            [one.job_id for one in progress],
            [one.attempt for one in progress],
            [one.fraction for one in progress],
            [one.note for one in progress],
            list(running),
            list(doubtful),
        )
        return Heartbeat(is_known, frozenset(cancelled), frozenset(own))

    async def give_back(self, worker: UUID, ids: Sequence[UUID]) -> None:
        """Those of them that are this worker's are queued again, as if they had not been tried."""
        await self._database.fetch(_GIVE_BACK, worker, list(ids))


async def leave(session: AsyncSession, worker: UUID) -> None:
    """A worker ends: what it still holds is queued again."""
    with translate_errors():
        await session.execute(
            _TAKE_OUT, {"workers": [worker]}
        )  # first: it waits for claims that are under way
        await session.execute(_LEAVE, {"worker": worker})


async def recover(session: AsyncSession, by: UUID | None, *, silent_s: float, most: int) -> list[EndedJob]:
    """Give up silent workers, and take up to ``most`` of their jobs: queued again, or ended. Who has none left is taken out. Does
    nothing if ``by``, the worker who asks, is silent himself.
    """
    with translate_errors():
        gone = list(await session.scalars(_GIVE_UP, {"silent_s": silent_s, "by": by}))
        if not gone:
            return []
        found = ended_of(await session.execute(_RECOVER, {"gone": gone, "most": most}))
        if len(found) < most:
            await session.execute(_TAKE_OUT, {"workers": gone})
    return found
