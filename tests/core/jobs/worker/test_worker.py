"""A worker on real servers: from the caller's transaction to the job's end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from app.core.db import AsyncSession, get_db_context
from app.core.jobs import JobFailed, JobRun, job
from app.core.observability import JobEvent
from app.settings import Settings
from tests.core.jobs.workbench import Workbench, working

pytestmark = pytest.mark.usefixtures("own_jobs")


class Sum(BaseModel):
    numbers: list[int]
    fails: int = 0


@job("add_up", backoff_s=0)
async def add_up(arguments: Sum, run: JobRun) -> int:
    run.progress(0.5, "half")
    if run.attempt <= arguments.fails:
        raise RuntimeError("not yet")
    return sum(arguments.numbers)


@job("refuse")
async def refuse(arguments: Sum, _run: JobRun) -> None:
    raise JobFailed(f"{len(arguments.numbers)} numbers are too many")


@job("write_down", attempts=2, backoff_s=0)
async def write_down(arguments: Sum, run: JobRun, session: AsyncSession) -> None:
    await session.execute(
        text("INSERT INTO events_log (id, kind, subject) VALUES (gen_random_uuid(), 'job.effect', :id)"),
        {"id": str(run.id)},
    )
    run.progress(0.9, "written")
    if run.attempt <= arguments.fails:
        raise RuntimeError("after writing")


@job("wait_for_ever")
async def wait_for_ever(_arguments: Sum, _run: JobRun) -> None:
    await asyncio.Event().wait()


@pytest.fixture(scope="module")
async def bench(settings: Settings) -> AsyncIterator[Workbench]:
    async with working(settings, (add_up, refuse, write_down, wait_for_ever)) as bench:
        yield bench


async def test_a_job_runs_after_the_commit_and_its_result_is_kept(bench: Workbench) -> None:
    added = await bench.enqueue(add_up, Sum(numbers=[1, 2, 3]))
    row = await bench.ended(added.id)
    assert (row.status, row.result, row.attempts, row.progress, row.note) == ("succeeded", 6, 1, 1.0, "half")


async def test_a_transaction_that_is_undone_submits_nothing(bench: Workbench) -> None:
    async def submit_and_fail() -> None:
        async with get_db_context(bench.app.platform.database) as session:
            await bench.queue.enqueue(session, add_up, Sum(numbers=[4711]))
            raise LookupError

    with pytest.raises(LookupError):
        await submit_and_fail()
    async with bench.app.platform.database.session() as session:
        assert (
            await session.scalar(text("SELECT count(*) FROM jobs WHERE arguments->'numbers' = '[4711]'")) == 0
        )


async def test_a_job_that_fails_is_tried_again_until_it_succeeds(bench: Workbench) -> None:
    added = await bench.enqueue(add_up, Sum(numbers=[4], fails=2))
    row = await bench.ended(added.id)
    assert (row.status, row.result, row.attempts, row.error) == ("succeeded", 4, 3, None)


async def test_a_job_that_cannot_succeed_is_not_tried_again(bench: Workbench) -> None:
    row = await bench.ended((await bench.enqueue(refuse, Sum(numbers=[1, 2]))).id)
    assert (row.status, row.attempts, row.error) == ("failed", 1, "2 numbers are too many")


async def test_what_a_job_writes_is_there_once_or_not_at_all(bench: Workbench) -> None:
    good, bad = await asyncio.gather(
        bench.enqueue(write_down, Sum(numbers=[], fails=1)),
        bench.enqueue(write_down, Sum(numbers=[], fails=9)),
    )
    ended = await bench.ended(good.id)
    assert (ended.status, ended.note) == ("succeeded", "written")
    assert (await bench.ended(bad.id)).status == "dead"
    async with bench.app.platform.database.session() as session:
        rows = await session.scalars(text("SELECT subject FROM events_log WHERE kind = 'job.effect'"))
        assert list(rows) == [str(good.id)]


async def test_each_attempt_is_told_of_once(bench: Workbench) -> None:
    """Whatever it ends with: also when it is cancelled, and when nobody knows the job."""
    seen: list[JobEvent] = []
    bench.app.platform.hub.subscribe(JobEvent, seen.append)
    tried = await bench.enqueue(add_up, Sum(numbers=[1], fails=1))
    await bench.ended(tried.id)
    slow = await bench.enqueue(wait_for_ever, Sum(numbers=[]))
    async with bench.app.platform.database.session() as session:
        while (await bench.row(slow.id)).status != "running":  # noqa: ASYNC110 - the database does not tell
            await asyncio.sleep(0.005)
        await session.execute(
            text("UPDATE jobs SET cancel_requested_at = now() WHERE id = :id"), {"id": slow.id}
        )
        await session.commit()
    assert (await bench.ended(slow.id)).status == "cancelled"
    unknown = await bench.enqueue(add_up, Sum(numbers=[1]), delay_s=3600)
    async with bench.app.platform.database.session() as session:
        due = "UPDATE jobs SET name = 'made_up', run_at = now(), publish_at = now() WHERE id = :id"
        await session.execute(text(due), {"id": unknown.id})
        await session.commit()
    while not any(event.outcome == "parked" for event in seen):  # noqa: ASYNC110 - events are no waiters
        await asyncio.sleep(0.005)
    await bench.drop(unknown.id)
    ends = [(str(event.job_id), event.outcome, event.attempt) for event in seen]
    assert ends == [
        (str(tried.id), "retried", 1),
        (str(tried.id), "succeeded", 2),
        (str(slow.id), "cancelled", 1),
        (str(unknown.id), "parked", 1),
    ]
