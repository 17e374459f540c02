"""How queues stand, and what may go: questions about all jobs together, each of bounded cost."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from app.builtin.jobs.repository.queue_names import queue_names
from app.core.db import Database

_MOST = 10_000
# Of each queue at most $3 jobs are counted, the oldest first.
_STATES = f"""
WITH RECURSIVE {queue_names("found", "is_open")}, {queue_names("dead", "is_dead")}, named AS (
    SELECT unnest(CAST($1 AS text[])) AS queue UNION SELECT queue FROM found UNION SELECT queue FROM dead
)
SELECT n.queue, o.waiting, o.delayed, o.running, CAST(greatest(o.oldest_s, 0) AS float8),
    (SELECT count(*) FROM (SELECT FROM jobs j WHERE j.queue = n.queue AND j.is_dead LIMIT $3) AS counted),
    (
        SELECT count(*) FROM job_workers w
        WHERE n.queue = ANY (w.queues) AND NOT w.is_gone AND w.seen_at >= clock_timestamp() - make_interval(secs => $2)
    )
FROM named n CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status = 'queued' AND run_at <= now()) AS waiting,
        count(*) FILTER (WHERE status = 'queued' AND run_at > now()) AS delayed,
        count(*) FILTER (WHERE status = 'running') AS running,
        extract(epoch FROM now() - min(run_at) FILTER (WHERE status = 'queued')) AS oldest_s
    FROM (
        SELECT j.status, j.run_at FROM jobs j WHERE j.queue = n.queue AND j.is_open ORDER BY j.id LIMIT $3
    ) AS unended
) AS o WHERE n.queue IS NOT NULL ORDER BY n.queue
"""  # noqa: S608 - constants of this package
_WORKERS = """
SELECT name, queues, concurrency, processes, running, CAST(extract(epoch FROM clock_timestamp() - started_at) AS float8),
    CAST(greatest(extract(epoch FROM clock_timestamp() - seen_at), 0) AS float8)
FROM job_workers WHERE NOT is_gone ORDER BY name, id LIMIT 1000
"""
# Ids begin with the time when they were made (version 7), so the oldest come first, and nothing younger is looked at. Those that another
# process deletes at the same time are left to it.
_PURGE = """
WITH gone AS (
    DELETE FROM jobs WHERE id = ANY (ARRAY(
        SELECT id FROM jobs WHERE id < CAST(
                rpad(lpad(to_hex(CAST(extract(epoch FROM now() - make_interval(days => $1)) * 1000 AS bigint)), 12, '0'), 32, '0') AS uuid
            ) AND finished_at < now() - make_interval(days => $1) AND NOT is_open
        ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
    )) RETURNING id
) SELECT count(*) FROM gone
"""


class QueueState(NamedTuple):
    """How a queue stands in the database. Each number counts at most 10,000 jobs, those that were submitted first.

    waiting: queued and due. delayed: queued for later, retries too. oldest_s: seconds since the oldest of those that wait was due, None
    when none waits. dead: those that used up their attempts and are still kept. workers: that are there and take jobs from it.
    """

    queue: str
    waiting: int
    delayed: int
    running: int
    oldest_s: float | None
    dead: int
    workers: int


class WorkerState(NamedTuple):
    """A worker as the database has it. ``seen_s``: seconds since its last sign of life."""

    name: str
    queues: tuple[str, ...]
    concurrency: int
    processes: int
    running: int
    age_s: float
    seen_s: float


class QueueRows:
    """Questions about all jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def states(self, known: Sequence[str], silent_s: float) -> list[QueueState]:
        """How the queues stand that have open or dead jobs, and those of ``known``; by name. One statement."""
        rows = await self._database.fetch(_STATES, sorted(known), silent_s, _MOST)
        return [_state(row) for row in rows]

    async def workers(self) -> list[WorkerState]:
        """Workers, silent ones too, by name; at most 1,000."""
        rows = await self._database.fetch(_WORKERS)
        return [WorkerState(name, tuple(queues), *numbers) for name, queues, *numbers in rows]

    async def purge(self, keep_days: int, most: int) -> int:
        """Delete up to ``most`` jobs that ended more than ``keep_days`` days ago, the oldest first; how many. Looks past those that were
        submitted before that time and ended after it.
        """
        ((gone,),) = await self._database.fetch(_PURGE, keep_days, most)
        return int(gone)


def _state(row: tuple[Any, ...]) -> QueueState:
    queue, waiting, delayed, running, oldest_s, dead, workers = row
    return QueueState(queue, waiting, delayed, running, oldest_s if waiting else None, dead, workers)
