"""What it costs to run jobs, in one run: ``python -m bench.job_worker [--jobs 30000] [--rounds 5] [--json]``.

"bare loop" is that of ``bench.jobs``: plain valkey-py, batches of 64, a result hash each, one ack. "worker" is one worker process with
no-op jobs: read, claimed in PostgreSQL, run under the policy engine, ended in PostgreSQL, which syncs every commit to disk. They take turns
on one Valkey, and the medians count. "enqueue" is what a request pays to submit a job: the same transaction, with and without it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import uvloop
from pydantic import BaseModel
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.builtin.jobs.models import TABLES
from app.builtin.jobs.service import provide_jobs
from app.cli._serve import tune_collector
from app.core.db import get_db_context, upgrade
from app.core.jobs import JobBroker, JobQueue, JobRun, Worker, job, parcel_of
from app.core.observability import configure_logging
from app.dev import EmbeddedPostgres, EmbeddedValkey, server_account
from app.registry import Feature
from app.settings import Settings
from app.worker import WorkerApp, worker_of
from bench.jobs import bare
from bench.machine import description, keep
from bench.turns import Cost, median, ratio

FLOOR = 0.4
CONCURRENCY = 500
BARE, WORKER = "bare loop", "worker"
PLAIN, ENQUEUE = "a transaction of one row", "the same with a job"
_ADD = """
INSERT INTO jobs (id, name, queue, priority, arguments, max_attempts)
SELECT unnest(CAST($1 AS uuid[])), 'bench_nothing', 'default', 'normal', '{}', 5
"""
_ENDED = """
INSERT INTO jobs (id, name, queue, priority, arguments, max_attempts, status, finished_at)
SELECT unnest(CAST($1 AS uuid[])), 'bench_nothing', 'default', 'normal', '{}', 5, 'succeeded', now()
"""
_IS_ANY_OPEN = "SELECT EXISTS (SELECT FROM jobs WHERE is_open)"
_ROW = text("INSERT INTO events_log (id, kind, subject) VALUES (:id, 'bench', 'bench')")


class Nothing(BaseModel):
    """No arguments."""


@job("bench_nothing")
async def nothing(_arguments: Nothing, _run: JobRun) -> None:
    """Does nothing."""


FEATURES = (Feature(name="jobs", provides=provide_jobs, models=TABLES, jobs=(nothing,)),)


async def submitted(app: WorkerApp, count: int) -> None:
    """So many jobs that wait, in the database and with the broker."""
    broker: JobBroker = app.platform.require(JobBroker)  # type: ignore[type-abstract]
    ids: list[UUID] = [uuid7() for _ in range(count)]
    await app.platform.database.fetch(_ADD, ids)
    for at in range(0, count, 500):
        await broker.publish([parcel_of(one, "default", "normal") for one in ids[at : at + 500]])


async def worked_off(app: WorkerApp, jobs: int = 1) -> Cost:
    """What a job costs a worker that runs them all, from its start until all have ended; its stop is no part of it."""
    worker = worker_of(app.settings, app.platform, None)
    cost = await _cost(_all_ended(app, worker), jobs)
    await worker.stop()
    return cost


async def _all_ended(app: WorkerApp, worker: Worker) -> None:
    await worker.start()
    while (await app.platform.database.fetch(_IS_ANY_OPEN))[0][0]:  # noqa: ASYNC110 - the database does not tell
        await asyncio.sleep(0.02)


async def transactions(app: WorkerApp, count: int, *, with_job: bool) -> None:
    """So many requests' transactions, one after the other."""
    queue = app.platform.require(JobQueue)
    for _ in range(count):
        async with get_db_context(app.platform.database) as session:
            await session.execute(_ROW, {"id": uuid4()})
            if with_job:
                await queue.enqueue(session, nothing, Nothing())


async def _cost(work: Awaitable[object], count: int) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    await work
    return Cost(1e6 * (time.process_time() - cpu) / count, 1e6 * (time.perf_counter() - wall) / count)


async def compare(app: WorkerApp, url: str, jobs: int, rounds: int) -> dict[str, list[Cost]]:
    """What a job cost each way in each round; a round before them warms up."""
    costs: dict[str, list[Cost]] = {name: [] for name in (BARE, WORKER, PLAIN, ENQUEUE)}
    await app.platform.database.fetch(_ENDED, [uuid7() for _ in range(jobs)])
    await app.platform.database.fetch("VACUUM ANALYZE jobs")
    async with bare(url) as way:
        for number in range(rounds + 1):
            found: dict[str, Cost] = {}
            for name in (BARE, WORKER)[:: 1 if number % 2 else -1]:
                if name == BARE:
                    await way.publish([uuid4().bytes for _ in range(jobs)])
                    found[name] = await _cost(way.drain(), jobs)
                else:
                    await submitted(app, jobs)
                    found[name] = await worked_off(app, jobs)
            for name in (PLAIN, ENQUEUE)[:: 1 if number % 2 else -1]:
                found[name] = await _cost(transactions(app, 300, with_job=name == ENQUEUE), 300)
            await worked_off(app)
            # What has ended stays, as it does for weeks: the planner knows a table of some size.
            await app.platform.database.fetch("VACUUM ANALYZE jobs")
            for name, cost in found.items() if number else ():
                costs[name].append(cost)
    return costs


async def measure(folder: Path, jobs: int, rounds: int) -> dict[str, list[Cost]]:
    """On servers of its own, PostgreSQL with all its durability."""
    server_account().own(folder)
    with contextlib.ExitStack() as stack:
        postgres = EmbeddedPostgres(folder / "postgres", durable=True)
        valkey = EmbeddedValkey(folder / "valkey", durable=False)
        for server in (postgres, valkey):
            server.start()
            stack.callback(server.kill)
        await upgrade(postgres.url())
        urls: dict[str, Any] = {"database_url": postgres.url(), "valkey_url": valkey.url()}
        settings = Settings(
            _env_file=None,
            app_env="test",
            valkey_timeout_ms=2000,
            db_pool_size=5,
            jobs={"concurrency": CONCURRENCY},
            **urls,
        )
        app = WorkerApp(settings, registry=FEATURES)
        tune_collector()  # as the worker's command does
        try:
            return await compare(app, valkey.url(), jobs, rounds)
        finally:
            await app.platform.store.close()
            await app.platform.database.close()


@contextlib.contextmanager
def _thrown_away() -> Iterator[None]:
    """A line is written for each job, as in production, and nobody reads it."""
    configure_logging("INFO", "json", "bench")
    output, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(output, 1)


def numbers(costs: dict[str, list[Cost]]) -> dict[str, Any]:
    """Jobs a second, CPU of this process for each, and the ratios."""
    found: dict[str, Any] = {
        name: {"per_s": round(1e6 / median(rounds).wall), "cpu_us": round(median(rounds).cpu, 1)}
        for name, rounds in costs.items()
    }
    found["throughput_to_bare"] = round(ratio(costs, BARE, WORKER, "wall"), 2)
    found["floor"] = FLOOR
    found["enqueue_cpu_us"] = round(median(costs[ENQUEUE]).cpu - median(costs[PLAIN]).cpu, 1)
    found["enqueue_wall_us"] = round(median(costs[ENQUEUE]).wall - median(costs[PLAIN]).wall, 1)
    return found


def main() -> None:
    """Measure, print, keep. Exit code 1 below the floor."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=30_000, help="of one turn (default 30000)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (default 5)")
    parser.add_argument("--no-results", action="store_true", help="print only")
    options = parser.parse_args()
    machine = description()
    with _thrown_away(), tempfile.TemporaryDirectory(prefix="gatehouse-bench-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        found = numbers(uvloop.run(measure(Path(folder), options.jobs, options.rounds)))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    if not options.no_results:
        keep("job_worker", {"jobs": options.jobs, "rounds": options.rounds} | found, machine)
    sys.exit(0 if found["throughput_to_bare"] >= FLOOR else 1)


if __name__ == "__main__":
    main()
