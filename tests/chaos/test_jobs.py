"""kill -9 of workers in the middle of jobs, again and again, and of Valkey with all its streams: no job is lost, none is done twice.

``make chaos-jobs`` runs it in full; the suite a sixteenth of it.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from app.core.context import Principal
from app.core.db import AsyncSession, get_db_context
from app.core.jobs import JobQueue, Publisher
from app.core.policies import CREDIT, CreditLedger, Debit
from app.settings import Settings
from app.worker import WorkerApp
from tests.builtin.credits.books import give
from tests.chaos.calculating_job import PRICE, Order
from tests.chaos.marking_jobs import EFFECTS, FEATURES, JOBS
from tests.chaos.stage import Stage
from tests.nursery import Child, start

PROGRAM = "tests.chaos.job_worker"
ACCOUNT, GRANTED = str(uuid4()), 10_000
PRICES = {"mark": PRICE, "call": PRICE, "give_up": 0, "calculate": PRICE // 2}
"""What each kind costs in the end."""


class Size(NamedTuple):
    """How much is done, and undone."""

    jobs: int
    kills: int
    restarts: int
    within_s: float


FULL = Size(2000, 50, 2, 600)
SIZE = FULL if os.environ.get("CHAOS_SIZE") == "full" else Size(120, 4, 1, 60)
WITHOUT_POOL = {"JOBS__QUEUES": '["default"]'}
"""In the small size one of the two workers is so: the processes of a pool take longer to start than all these jobs to do."""


class Crew:
    """Workers that are killed and replaced."""

    def __init__(self, stage: Stage) -> None:
        self._environment = {
            "PATH": os.defpath,
            "APP_ENV": "test",
            "LOG__LEVEL": "ERROR",
            "DATABASE_URL": stage.postgres.url,
            "VALKEY_URL": stage.valkey.url,
            "VALKEY_TIMEOUT_MS": "500",
            "JOBS__SILENT_S": "1",
            "JOBS__CONCURRENCY": "8",
        }
        self._workers: list[Child] = []
        self._without_pool = set[Child]()
        self.killed = 0

    def hire(self, *, has_pool: bool = True) -> None:
        """One more worker, with processes for jobs that only calculate or without."""
        own = {} if has_pool or SIZE == FULL else WITHOUT_POOL
        worker = start(PROGRAM, environment=self._environment | own)
        self._workers.append(worker)
        if not has_pool:
            self._without_pool.add(worker)

    def kill(self, pid: int) -> bool:
        """kill -9 of this one; another takes its place. False when it is none of ours any more."""
        victim = next((worker for worker in self._workers if worker.pid == pid), None)
        if victim is None:
            return False
        victim.kill()
        victim.wait()
        self._workers.remove(victim)
        self.killed += 1
        self.hire(has_pool=victim not in self._without_pool)
        return True

    def check(self) -> None:
        """None of them has ended by itself."""
        assert [worker.poll() for worker in self._workers] == [None] * len(self._workers)

    def dismiss(self) -> list[int]:
        """Ask all of them to stop; their exit codes."""
        for worker in self._workers:
            worker.terminate()
        return [worker.wait(30) for worker in self._workers]

    def end(self) -> None:
        """Whatever happened, nobody is left."""
        for worker in self._workers:
            worker.kill()
            worker.wait()


@asynccontextmanager
async def crew_of(stage: Stage) -> AsyncIterator[Crew]:
    """Of two."""
    crew = Crew(stage)
    try:
        for has_pool in (True, False):
            crew.hire(has_pool=has_pool)
        yield crew
    finally:
        crew.end()


async def submit(app: WorkerApp, count: int) -> set[UUID]:
    """So many jobs, ten in a transaction; every fifth transaction is undone, every seventh job waits a little."""
    ids = set[UUID]()
    while len(ids) < count:
        async with get_db_context(app.platform.database) as session:
            added = [await submit_one(app, session, len(ids) + number) for number in range(10)]
            if random.random() < 0.2:
                await session.rollback()
                added = []
        ids.update(added)
    return ids


async def submit_one(app: WorkerApp, session: AsyncSession, number: int) -> UUID:
    """One of every kind in turn, paid for in the same transaction, as a gate does it."""
    queue, job_id = app.platform.require(JobQueue), uuid7()
    ledger: CreditLedger = app.platform.require(CreditLedger)  # type: ignore[type-abstract]
    await queue.enqueue(
        session,
        JOBS[number % len(JOBS)],
        Order(number=number),
        delay_s=0.3 * (number % 7 == 0),
        submitter=Principal(ACCOUNT),
        is_charged=True,
        job_id=job_id,
    )
    await ledger.debit(session, Debit(ACCOUNT, PRICE, str(job_id), "chaos", None))
    return job_id


async def states(stage: Stage) -> dict[str, int]:
    async with stage.sql() as sql:
        return dict(await sql.fetch("SELECT status, count(*) FROM jobs GROUP BY status"))


async def busy(stage: Stage) -> list[int]:
    """The processes of the workers that have jobs in work."""
    async with stage.sql() as sql:
        rows = await sql.fetch(
            "SELECT DISTINCT w.name FROM job_workers w JOIN jobs j ON j.worker_id = w.id WHERE j.status = 'running'"
        )
    return [int(row["name"].rpartition(":")[2]) for row in rows]


async def wreak_havoc(stage: Stage, crew: Crew) -> None:
    """Kills workers in the middle of jobs all the while, and Valkey when a third, and two thirds, of the kills are done."""
    restarts = {SIZE.kills * (one + 1) // (SIZE.restarts + 1) for one in range(SIZE.restarts)}
    while crew.killed < SIZE.kills:
        await asyncio.sleep(random.uniform(0, 0.2))
        crew.check()
        for pid in random.sample(found := await busy(stage), min(1, len(found))):
            if not crew.kill(pid) or crew.killed not in restarts:
                continue
            stage.valkey.kill()
            await asyncio.sleep(random.uniform(0, 0.5))
            await asyncio.to_thread(stage.valkey.restart)


async def all_done(stage: Stage) -> dict[str, int]:
    deadline = time.monotonic() + SIZE.within_s
    while (found := await states(stage)).keys() & {"queued", "running"}:
        assert time.monotonic() < deadline, f"stuck: {found}"
        await asyncio.sleep(0.05)
    return found


@pytest.fixture
async def submitter(stage: Stage) -> AsyncIterator[WorkerApp]:
    """This process's own connections, through which jobs are submitted; it runs none."""
    urls: dict[str, Any] = {"database_url": stage.postgres.url, "valkey_url": stage.valkey.url}
    app = WorkerApp(
        Settings(_env_file=None, app_env="test", valkey_timeout_ms=500, **urls), registry=FEATURES
    )
    async with stage.sql() as sql:
        await sql.execute(EFFECTS)
    await give(app.platform.database, ACCOUNT, GRANTED)
    yield app
    await app.platform.require(Publisher).close()
    await app.platform.store.close()
    await app.platform.database.close()
    async with stage.sql() as sql:
        await sql.execute("DROP TABLE chaos_effects; DELETE FROM jobs; DELETE FROM job_workers")


async def test_no_job_is_lost_or_done_twice_whoever_is_killed(stage: Stage, submitter: WorkerApp) -> None:
    async with crew_of(stage) as crew:
        havoc = asyncio.create_task(wreak_havoc(stage, crew))
        ids = await submit(submitter, SIZE.jobs)
        await havoc
        ended = await all_done(stage)
        assert ended.keys() == {"succeeded", "failed"}
        assert sum(ended.values()) == len(ids)
        assert crew.killed == SIZE.kills
        async with stage.sql() as sql:
            effects = await sql.fetch("SELECT job_id, count(*) AS times FROM chaos_effects GROUP BY job_id")
            named = await sql.fetch("SELECT id, name, status FROM jobs")
            balance = await sql.fetchval("SELECT balance_micro FROM credit_accounts WHERE id = $1", ACCOUNT)
            tries = await sql.fetchrow("SELECT max(attempts), sum(attempts) FROM jobs")
        kinds = {row["id"]: row["name"] for row in named}
        assert kinds.keys() == ids
        assert {row["id"] for row in named if row["status"] == "failed"} == {
            one for one in ids if kinds[one] == "give_up"
        }
        assert {row["job_id"]: row["times"] for row in effects} == {
            one: 1 for one in ids if kinds[one] in ("mark", "call")
        }
        spent = sum(PRICES[name] for name in kinds.values())
        assert balance == GRANTED * CREDIT - spent
        assert tries is not None
        assert tries[1] > len(ids), "no job was cut off"
        assert crew.dismiss() == [0, 0]
        assert await states(stage) == ended
    print(f"{len(ids)} jobs, {crew.killed} kills, attempts {tries[1]}, at most {tries[0]}")  # noqa: T201
