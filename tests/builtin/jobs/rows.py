"""Rows of jobs as tests need them, without anybody who runs them."""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.core.db import Database
from app.core.jobs import JobStore, WorkerInfo

_INSERT = text("""
INSERT INTO jobs (id, name, queue, priority, arguments, status, attempts, max_attempts, worker_id, owner, tenant_id,
    error, run_at, publish_at, finished_at)
SELECT id, :name, :queue, 'normal', '{}', :status, 1, 5, CASE WHEN :status = 'running' THEN gen_random_uuid() END, :owner, :tenant_id,
    :error, now() + make_interval(secs => :due_s), now() + make_interval(secs => CAST(:publish_s AS float8)),
    CASE WHEN :status NOT IN ('queued', 'running') THEN now() - make_interval(days => :ended_days) END
FROM unnest(CAST(:ids AS uuid[])) AS id
""")
_WORKER = text("""
INSERT INTO job_workers (id, name, queues, concurrency, processes, running, seen_at)
VALUES (gen_random_uuid(), :name, :queues, 4, 1, 2, now() - make_interval(secs => :silent_s))
""")

_SILENCE = text("UPDATE job_workers SET seen_at = now() - interval '1 hour' WHERE id = :worker")


async def insert_jobs(database: Database, status: str, count: int = 1, **changes: Any) -> list[UUID]:
    """Jobs of one status, oldest first. ``due_s``: seconds until they are due; ``ended_days``: days since their end; ``publish_s``:
    seconds until a relay publishes them, None: nobody does.
    """
    values = {
        "name": "any",
        "queue": "default",
        "owner": None,
        "tenant_id": None,
        "error": None,
        "due_s": 0,
        "ended_days": 0,
        "publish_s": None,
        **changes,
    }
    ids = [_id_of(values["ended_days"]) for _ in range(count)]
    async with database.session() as session:
        await session.execute(_INSERT, {"status": status, "ids": ids, **values})
        await session.commit()
    return ids


def _id_of(days: int) -> UUID:
    """As if it had been made that many days ago: the time is in the first 48 bits, in milliseconds."""
    return UUID(int=uuid7().int - (days * 86_400_000 << 80))


async def enter(store: JobStore) -> UUID:
    """A worker that is there, for tests that do by hand what it does."""
    worker = WorkerInfo(uuid7(), "by hand", ("default",), 1, 1)
    await store.enter(worker)
    return worker.id


async def silence(database: Database, worker: UUID) -> None:
    """It was last seen an hour ago."""
    async with database.session() as session:
        await session.execute(_SILENCE, {"worker": worker})
        await session.commit()


async def insert_worker(database: Database, name: str, *queues: str, silent_s: float = 0) -> None:
    """A worker that was last seen that many seconds ago."""
    async with database.session() as session:
        await session.execute(_WORKER, {"name": name, "queues": list(queues), "silent_s": silent_s})
        await session.commit()
