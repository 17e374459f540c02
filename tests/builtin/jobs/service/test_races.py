"""Everybody wants something else of one job at the same moment: its end counts once, and so does its price."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.builtin.jobs.service import EVERYBODYS, JobDesk
from app.core.db import Database, get_db_context
from app.core.errors import Conflict
from app.core.jobs import ClaimedJob, JobStore, Outcome, Status, WorkerGivenUp
from app.settings import Settings
from tests.builtin.jobs.rows import enter
from tests.builtin.jobs.till import Till
from tests.core.http.workshop import fund

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
ENDS: tuple[Status, ...] = ("succeeded", "failed", "dead", "queued", "cancelled")


@pytest.fixture
async def till(
    settings: Settings, database: Database, clean_store: None, clean_database: None
) -> AsyncIterator[Till]:
    await fund(database, 1000)
    async with Till().at_work(settings) as till:
        yield till


async def cancel(till: Till, job_id: UUID) -> None:
    async with get_db_context(till.platform.database) as session:
        await till.platform.require(JobDesk).cancel(session, EVERYBODYS, job_id)


async def retry(till: Till, job_id: UUID) -> None:
    async with get_db_context(till.platform.database) as session:
        await till.platform.require(JobDesk).retry(session, EVERYBODYS, job_id)


async def work(till: Till, job_id: UUID, end: Status) -> None:
    store: JobStore = till.platform.require(JobStore)  # type: ignore[type-abstract]
    worker = await enter(store)
    claims: list[ClaimedJob] = []
    with suppress(WorkerGivenUp):
        claims = await store.claim(worker, [job_id])
    for claimed in claims:
        outcome = Outcome(job_id, claimed.attempt, end, error="so", is_followed=claimed.is_followed)
        await asyncio.gather(store.finish(worker, [outcome]), store.finish(worker, [outcome]))


async def recover(till: Till) -> None:
    """No worker may be silent for any time at all: each job looks lost at any moment."""
    store: JobStore = till.platform.require(JobStore)  # type: ignore[type-abstract]
    await store.recover(None, silent_s=0, most=100)


async def standing(till: Till) -> dict[str, Any]:
    query = text(
        "SELECT (SELECT count(*) FROM jobs WHERE status NOT IN ('failed', 'dead', 'cancelled')) AS paid,"
        " (SELECT count(*) FROM jobs WHERE status = 'running') AS running,"
        " (SELECT count(*) FROM jobs WHERE status = 'queued' AND publish_at IS NULL AND published_at IS NULL) AS forgotten,"
        " (SELECT sum(amount_micro) / 1000000 FROM credit_ledger) AS balance"
    )
    async with till.platform.database.session() as session:
        return dict((await session.execute(query)).one()._mapping)


async def test_each_job_is_paid_for_once_or_not_at_all(till: Till) -> None:
    jobs = [await till.submit("strict") for _ in range(5)]
    for turn in range(4):
        wishes = [cancel(till, one) for one in jobs] + [retry(till, one) for one in jobs]
        wishes += [
            work(till, one, ENDS[(at + turn + more) % 5]) for more in (0, 2) for at, one in enumerate(jobs)
        ]
        done = await asyncio.gather(*wishes, recover(till), recover(till), return_exceptions=True)
        assert [one for one in done if isinstance(one, BaseException) and not isinstance(one, Conflict)] == []
    await recover(till)
    found = await standing(till)
    assert (found["running"], found["forgotten"]) == (0, 0)
    assert found["balance"] == 1000 - 10 * found["paid"]
