"""What a worker does when it is stopped, given up or told to end a job, and with jobs that it does not know."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.core.db import get_db_context
from app.core.jobs import JobRun, Parcel, Schedule, id_at, job, parcel_of
from app.core.policies import JobConfig
from app.settings import Settings
from tests.core.jobs.workbench import Workbench, working

pytestmark = pytest.mark.usefixtures("own_jobs")


class Name(BaseModel):
    name: str = "nobody"


_begun: dict[str, asyncio.Event] = {}
_go_on: dict[str, asyncio.Event] = {}
_ended: list[str] = []


@job("wait_for_it", backoff_s=0)
async def wait_for_it(arguments: Name, run: JobRun) -> str:
    _begun.setdefault(arguments.name, asyncio.Event()).set()
    try:
        await _go_on.setdefault(arguments.name, asyncio.Event()).wait()
    finally:
        _ended.append(arguments.name)
    return f"{arguments.name} at attempt {run.attempt}"


@job("slow_to_end")
async def slow_to_end(_arguments: Name, run: JobRun) -> None:
    _begun.setdefault(f"attempt {run.attempt}", asyncio.Event()).set()
    try:
        await asyncio.Event().wait()
    finally:
        if run.attempt == 1:
            await _go_on.setdefault("end", asyncio.Event()).wait()


@job("too_slow", attempts=2, backoff_s=0, config=JobConfig(rate_limit=None, timeout=0.05))
async def too_slow(_arguments: Name, _run: JobRun) -> None:
    await asyncio.Event().wait()


@job("only_one", unique=lambda arguments: arguments.name)
async def only_one(arguments: Name, _run: JobRun) -> None:
    await _go_on.setdefault(arguments.name, asyncio.Event()).wait()


@job("on_time", queue="wrong_clock", cron="* * * * *")
async def on_time(_arguments: Name, _run: JobRun) -> None: ...


@job("tried_again", queue="wrong_clock", attempts=2, backoff_s=0)
async def tried_again(_arguments: Name, run: JobRun) -> None:
    if run.attempt == 1:
        raise ValueError


JOBS = (wait_for_it, slow_to_end, too_slow, only_one)


async def begun(name: str) -> None:
    await _begun.setdefault(name, asyncio.Event()).wait()


def go_on(name: str) -> None:
    _go_on.setdefault(name, asyncio.Event()).set()


async def execute(bench: Workbench, statement: str, **values: Any) -> None:
    async with get_db_context(bench.app.platform.database) as session:
        await session.execute(text(statement), values)


async def until_status(bench: Workbench, job_id: UUID, status: str) -> Any:
    while (row := await bench.row(job_id)).status != status:  # noqa: ASYNC110 - the database does not tell
        await asyncio.sleep(0.005)
    return row


@pytest.fixture(scope="module")
async def bench(settings: Settings) -> AsyncIterator[Workbench]:
    async with working(settings, JOBS) as bench:
        yield bench


async def test_a_running_job_that_is_cancelled_ends_within_a_beat(bench: Workbench) -> None:
    added = await bench.enqueue(wait_for_it, Name(name="cancelled"))
    await begun("cancelled")
    await execute(bench, "UPDATE jobs SET cancel_requested_at = now() WHERE id = :id", id=added.id)
    row = await bench.ended(added.id)
    assert (row.status, row.result, row.worker_id) == ("cancelled", None, None)
    assert "cancelled" in _ended


async def test_a_job_over_its_time_is_tried_again_and_then_dead(bench: Workbench) -> None:
    row = await bench.ended((await bench.enqueue(too_slow, Name())).id)
    assert (row.status, row.attempts) == ("dead", 2)
    assert row.error


async def test_a_worker_that_was_given_up_ends_its_jobs_and_comes_back_under_another_name(
    bench: Workbench,
) -> None:
    added = await bench.enqueue(wait_for_it, Name(name="given up"))
    await begun("given up")
    former = bench.worker.info.id
    # As another worker's relay does when it has not heard of this one.
    await execute(bench, "DELETE FROM job_workers WHERE id = :id", id=former)
    while bench.worker.info.id == former:  # noqa: ASYNC110 - it notices at its next beat
        await asyncio.sleep(0.005)
    go_on("given up")
    row = await bench.ended(added.id)
    assert (row.status, row.result) == ("succeeded", "given up at attempt 2")
    assert _ended.count("given up") == 2


async def test_a_lost_job_that_is_slow_to_end_is_not_taken_for_its_next_attempt(bench: Workbench) -> None:
    """Else nobody could cancel that, and a worker that stops would not wait for it."""
    added = await bench.enqueue(slow_to_end, Name())
    await begun("attempt 1")
    await execute(bench, "DELETE FROM job_workers WHERE id = :id", id=bench.worker.info.id)
    await begun("attempt 2")
    await execute(bench, "UPDATE jobs SET cancel_requested_at = now() WHERE id = :id", id=added.id)
    go_on("end")
    row = await bench.ended(added.id)
    assert (row.status, row.attempts) == ("cancelled", 2)


async def test_a_job_that_nobody_knows_waits_and_has_lost_no_attempt(bench: Workbench) -> None:
    new = uuid7()
    await execute(
        bench,
        "INSERT INTO jobs (id, name, queue, priority, arguments, max_attempts)"
        " VALUES (:id, 'of_tomorrow', 'default', 'normal', '{}', 1)",
        id=new,
    )
    await bench.broker.publish([parcel_of(new, "default", "normal")])
    while (row := await bench.row(new)).error is None:  # noqa: ASYNC110 - the database does not tell
        await asyncio.sleep(0.005)
    assert (row.status, row.attempts) == ("queued", 0)
    assert "of_tomorrow" in row.error
    assert row.run_at > row.created_at
    assert row.publish_at >= row.run_at


async def test_a_message_that_is_no_job_is_put_aside(bench: Workbench) -> None:
    await bench.broker.publish([Parcel("default", b"nonsense"), parcel_of(uuid7(), "default", "normal")])
    # It may read them one by one.
    while (depth := await bench.broker.depth("default")).waiting or depth.unacked:  # noqa: ASYNC110 - the worker does not tell
        await asyncio.sleep(0.005)
    assert depth.dead == 1


async def test_a_unique_job_stands_for_another_until_it_has_ended(bench: Workbench) -> None:
    first = await bench.enqueue(only_one, Name(name="one"))
    again, other = await asyncio.gather(
        bench.enqueue(only_one, Name(name="one")), bench.enqueue(only_one, Name(name="two"))
    )
    assert (again.id, again.is_new, other.is_new) == (first.id, False, True)
    go_on("one")
    go_on("two")
    await bench.ended(first.id)
    later = await bench.enqueue(only_one, Name(name="one"))
    assert later.is_new
    assert (await bench.ended(later.id)).status == "succeeded"


async def test_a_delayed_job_waits_for_its_time(bench: Workbench) -> None:
    added = await bench.enqueue(only_one, Name(name="one"), delay_s=3600)
    go_on("one")
    go_on("two")
    await bench.broker.publish([parcel_of(added.id, "default", "normal")])  # as if by mistake
    marker = await bench.enqueue(only_one, Name(name="two"))
    await bench.ended(marker.id)
    assert (await bench.row(added.id)).status == "queued"
    await execute(bench, "UPDATE jobs SET run_at = now(), publish_at = now() WHERE id = :id", id=added.id)
    assert (await bench.ended(added.id)).status == "succeeded"


@pytest.mark.parametrize("wrong_s", [-3600, 3600])
async def test_a_worker_whose_clock_is_an_hour_wrong_does_what_others_do(
    bench: Workbench, settings: Settings, monkeypatch: pytest.MonkeyPatch, wrong_s: float
) -> None:
    """Times are the database's. The worker beside it, whose clock is right, is not taken for dead."""
    for place in ("app.core.resilience.SystemClock.time", "app.core.jobs.worker._reporter.time"):
        monkeypatch.setattr(place, lambda *_: time.time() + wrong_s)
    async with working(settings, (on_time, tried_again)) as wrong:
        again = await wrong.enqueue(tried_again, Name())
        later = await wrong.enqueue(on_time, Name(), delay_s=60)
        before = await wrong.store.now()
        (cron,) = await wrong.app.platform.require(Schedule).submit()
        found = await wrong.store.recover(None, silent_s=30, most=100)
        ended = [await wrong.ended(job_id) for job_id in (again.id, cron)]
        waiting, after = await wrong.row(later.id), await wrong.store.now()
        assert (await bench.store.beat(bench.worker.info, [], [])).is_known
        for job_id in (again.id, later.id, cron):
            await wrong.drop(job_id)
    assert [(row.status, row.attempts) for row in ended] == [("succeeded", 2), ("succeeded", 1)]
    assert cron in {id_at("on_time", at.replace(second=0, microsecond=0)) for at in (before, after)}
    assert all(before <= row.finished_at <= after for row in ended)
    assert waiting.status == "queued"
    assert not {again.id, later.id, cron} & {*found.requeued, *found.dead}


async def test_a_worker_that_stops_gives_back_what_it_cannot_end(settings: Settings) -> None:
    jobs = settings.jobs.model_copy(update={"grace_s": 0})
    async with working(settings, JOBS, jobs=jobs) as bench:
        added = await bench.enqueue(wait_for_it, Name(name="stopped"))
        await begun("stopped")
    async with working(settings, JOBS) as bench:
        row = await bench.row(added.id)
        assert row.attempts <= 1
        go_on("stopped")
        row = await bench.ended(added.id)
    assert (row.status, row.attempts, row.result) == ("succeeded", 1, "stopped at attempt 1")
