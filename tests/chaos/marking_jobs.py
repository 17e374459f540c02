"""Jobs that leave a mark in a table, or cannot, or only calculate."""

import asyncio
import random

from sqlalchemy import text

from app.builtin.credits.models import CreditAccount, CreditEntry, CreditGrant
from app.builtin.credits.service import provide_credits
from app.builtin.jobs.models import TABLES
from app.builtin.jobs.service import provide_jobs
from app.core.db import AsyncSession, get_db_context
from app.core.jobs import JobFailed, JobRun, job
from app.registry import Feature
from tests.chaos.calculating_job import LONGEST_S, Order, calculate

EFFECTS = "CREATE TABLE chaos_effects (job_id uuid NOT NULL, attempt int NOT NULL, kind text NOT NULL)"
_MARK = text("INSERT INTO chaos_effects VALUES (:job_id, :attempt, 'marked')")
_MARK_ONCE = text("""
INSERT INTO chaos_effects SELECT :job_id, :attempt, 'called' WHERE NOT EXISTS (SELECT FROM chaos_effects WHERE job_id = :job_id)
""")


@job("mark", attempts=100, backoff_s=0)
async def mark(_order: Order, run: JobRun, session: AsyncSession) -> None:
    """Leaves its mark in the transaction of its end: there must be one a job, whatever is killed when."""
    await session.execute(_MARK, {"job_id": run.id, "attempt": run.attempt})
    await asyncio.sleep(random.uniform(0, LONGEST_S))


@job("call", attempts=100, backoff_s=0)
async def call(order: Order, run: JobRun) -> int:
    """Acts outside of that, as a call of another service would: keyed by the job's id."""
    async with get_db_context() as other:
        await other.execute(_MARK_ONCE, {"job_id": run.id, "attempt": run.attempt})
    await asyncio.sleep(random.uniform(0, LONGEST_S))
    return order.number


@job("give_up", attempts=100, backoff_s=0)
async def give_up(_order: Order, run: JobRun, session: AsyncSession) -> None:
    """Cannot succeed: what it wrote is undone, and its price given back."""
    await session.execute(_MARK, {"job_id": run.id, "attempt": run.attempt})
    await asyncio.sleep(random.uniform(0, LONGEST_S))
    raise JobFailed("not today")


JOBS = (mark, call, give_up, calculate)
FEATURES = (
    Feature(name="credits", provides=provide_credits, models=(CreditAccount, CreditEntry, CreditGrant)),
    Feature(name="jobs", provides=provide_jobs, models=TABLES, jobs=JOBS),
)
