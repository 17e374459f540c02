"""Endpoints that cost credits and submit jobs, on real servers; and the ends of those jobs, without a worker."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends
from pydantic import BaseModel
from sqlalchemy import text

from app.builtin.jobs.models import TABLES
from app.builtin.jobs.service import JobCharges, provide_jobs
from app.core.db import AsyncSession, after_commit_idle, get_db, get_db_context
from app.core.http import api_worker, enforce_all_policies, provided
from app.core.jobs import JobQueue, JobRun, JobStore, Outcome, Status, job
from app.core.policies import CREDIT, Credits, Idempotency, JobConfig, Retry, account_key
from app.registry import Feature
from app.settings import Settings
from tests.builtin.jobs.rows import enter
from tests.core.http.gated import READER
from tests.core.http.workshop import Workshop

Act = Callable[[JobQueue, AsyncSession], Awaitable[Any]]
_CONFIGS = {
    "strict": JobConfig(credits=Credits(cost=10), rate_limit=None),
    "batched": JobConfig(credits=Credits(cost=10, settle="batched"), rate_limit=None),
    "shadow": JobConfig(credits=Credits(cost=10), rate_limit=None, shadow=True),
    "free": JobConfig(credits=Credits(cost=0), rate_limit=None),
    "kept": JobConfig(credits=Credits(cost=10), rate_limit=None, idempotency=Idempotency(durability="db")),
    "tried": JobConfig(
        credits=Credits(cost=10),
        rate_limit=None,
        retry=Retry(retry_safe=True, attempts=2, base=0, exceptions=(LookupError,)),
    ),
}


class Work(BaseModel):
    n: int = 0


@job("toil", unique=lambda work: str(work.n) if work.n else str(uuid4()))
async def toil(_work: Work, _run: JobRun) -> None:
    raise NotImplementedError


async def one_job(queue: JobQueue, session: AsyncSession) -> str:
    """What a handler usually does."""
    return str((await queue.enqueue(session, toil, Work())).id)


class Till(Workshop):
    """``POST /<config>`` does ``act`` with the queue and its session."""

    def __init__(self) -> None:
        super().__init__(JobConfig(rate_limit=None))
        self.act: Act = one_job
        for name, config in _CONFIGS.items():
            self._add_submit(name, config)

    def _add_submit(self, name: str, config: JobConfig) -> None:
        @self.router.post(f"/{name}", dependencies=[enforce_all_policies(f"submit_{name}", config)])
        @api_worker(config)
        async def submit(
            db: Annotated[AsyncSession, Depends(get_db)],
            queue: Annotated[JobQueue, Depends(provided(JobQueue))],
        ) -> Any:
            return await self.act(queue, db)

    @asynccontextmanager
    async def at_work(self, settings: Settings) -> AsyncIterator["Till"]:
        """Started."""
        jobs = Feature(name="jobs", provides=provide_jobs, models=TABLES, jobs=(toil,))
        async with self.open(settings, features=(jobs,)):
            yield self

    async def submit(self, name: str = "strict", act: Act = one_job, *, key: str | None = None) -> UUID:
        """The id of the job that was submitted."""
        self.act = act
        headers = {} if key is None else {"idempotency_key": key}
        answer = await self.post(f"/{name}", READER, **headers)
        assert answer.status_code == 200, answer.text
        return UUID(answer.json())

    async def end(self, job_id: UUID, status: Status, cost_micro: int | None = None) -> bool:
        """What a worker would write; whether it counted."""
        store: JobStore = self.platform.require(JobStore)  # type: ignore[type-abstract]
        worker = await enter(store)
        (claimed,) = await store.claim(worker, [job_id])
        outcome = Outcome(
            job_id, claimed.attempt, status, cost_micro=cost_micro, is_followed=claimed.is_followed
        )
        first, again = [await store.finish(worker, [outcome]) for _ in range(2)]
        assert again == frozenset()
        return first == {job_id}

    async def again(self, job_id: UUID) -> None:
        """What a retry does to a job that was given up."""
        async with get_db_context(self.platform.database) as session:
            await self.platform.require(JobCharges).charge_again(session, job_id)
            await session.execute(
                text("UPDATE jobs SET status = 'queued', attempts = 0, finished_at = NULL WHERE id = :id"),
                {"id": job_id},
            )

    async def known(self) -> tuple[float, float]:
        """The reader's balance and holds as the store has them, and admits by."""
        await self.settled()
        await after_commit_idle()
        balance, held = await self.stored("HMGET", account_key(READER.id), "b", "h")
        return int(balance) / CREDIT, int(held) / CREDIT

    async def jobs(self) -> list[tuple[str, bool]]:
        """(id, whether it is charged) of every job of ours, the oldest first."""
        async with self.platform.database.session() as session:
            rows = await session.execute(
                text("SELECT id, is_charged FROM jobs WHERE name = 'toil' ORDER BY id")
            )
            return [(str(row.id), row.is_charged) for row in rows]

    async def entries(self) -> list[tuple[str, float, float, str]]:
        """(kind, credits, overage, settlement key) of what followed the grants."""
        query = "SELECT kind, amount_micro, overage_micro, settlement_key FROM credit_ledger WHERE kind <> 'grant' ORDER BY version"
        async with self.platform.database.session() as session:
            rows = await session.execute(text(query))
            return [(kind, amount / CREDIT, over / CREDIT, key) for kind, amount, over, key in rows]
