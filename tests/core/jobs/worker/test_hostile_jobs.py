"""Jobs that say what nobody can keep, and workers that miss an answer: no job stays in work for ever, and none takes its worker along."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from app.core.db import AsyncSession, CommitOutcomeUnknown, get_db_context
from app.core.jobs import AttemptFailed, ClaimedJob, JobFailed, JobRun, Progress, job
from app.settings import Settings
from tests.core.jobs.workbench import Workbench, working

pytestmark = pytest.mark.usefixtures("own_jobs")
UNKEEPABLE = "a\x00b\ud800c"


class Panic(BaseException):
    """No ``Exception``, and nobody's wish to end the process."""


class Words(BaseModel):
    """How the job is to end."""

    how: str = ""


async def _fail(_run: JobRun) -> Any:
    raise JobFailed(UNKEEPABLE)


async def _never(_run: JobRun) -> Any:
    raise AttemptFailed("Perhaps never", retry_after_s=float("inf"))


async def _note(run: JobRun) -> Any:
    for note in (UNKEEPABLE, b"bytes", 7):
        run.progress(0.5, note)  # type: ignore[arg-type]
        await HOLD.wait()
    return "noted"


async def _cancel_itself(_run: JobRun) -> Any:
    raise asyncio.CancelledError


async def _exit(_run: JobRun) -> Any:
    raise SystemExit(3)


async def _interrupt(_run: JobRun) -> Any:
    raise KeyboardInterrupt


async def _panic(_run: JobRun) -> Any:
    raise Panic  # as an extension in Rust does


async def _cost(run: JobRun) -> Any:
    run.set_cost(2**63)


async def _result(_run: JobRun) -> Any:
    return {"text": "a\x00b"}


HOLD = asyncio.Event()
WAYS = {
    "fail": _fail,
    "never": _never,
    "note": _note,
    "cancelled": _cancel_itself,
    "exit": _exit,
    "interrupt": _interrupt,
    "panic": _panic,
    "cost": _cost,
    "result": _result,
}


@job("hostile", attempts=2, backoff_s=0)
async def hostile(arguments: Words, run: JobRun) -> Any:
    return await WAYS[arguments.how](run)


RESULTS = {"nul": "a\x00b", "number": 10**140_000, "size": "a" * 300_000, "object": object()}
REFUSALS = {
    "nul": "cannot be stored.",
    "number": "cannot be stored.",
    "size": "keep it elsewhere and return where.",
    "object": "is no JSON.",
}


@job("hostile_writing", attempts=3, backoff_s=0)
async def writing(arguments: Words, run: JobRun, session: AsyncSession) -> Any:
    await session.execute(text("UPDATE jobs SET note = 'written' WHERE id = :id"), {"id": run.id})
    return RESULTS[arguments.how]


@pytest.fixture(scope="module")
async def bench(settings: Settings) -> AsyncIterator[Workbench]:
    async with working(settings, (hostile, writing)) as bench:
        yield bench


async def run(bench: Workbench, how: str) -> Any:
    return await bench.ended((await bench.enqueue(hostile, Words(how=how))).id)


async def execute(bench: Workbench, statement: str, **values: Any) -> None:
    async with get_db_context(bench.app.platform.database) as session:
        await session.execute(text(statement), values)


class TestWhatCannotBeKept:
    async def test_words_lose_what_the_database_refuses(self, bench: Workbench) -> None:
        row = await run(bench, "fail")
        assert (row.status, row.error) == ("failed", "a\N{REPLACEMENT CHARACTER}b?c")

    async def test_a_pause_without_end_is_a_year(self, bench: Workbench) -> None:
        added = await bench.enqueue(hostile, Words(how="never"))
        while (row := await bench.row(added.id)).error is None:  # noqa: ASYNC110 - the database does not tell
            await asyncio.sleep(0.005)
        assert row.status == "queued"
        assert 365 <= (row.run_at - row.created_at).days <= 367
        await bench.drop(added.id)

    async def test_a_note_does_not_silence_the_worker(self, bench: Workbench) -> None:
        HOLD.clear()
        added = await bench.enqueue(hostile, Words(how="note"))
        while (row := await bench.row(added.id)).note is None:  # noqa: ASYNC110 - the database does not tell
            await asyncio.sleep(0.005)
        assert row.note == "a\N{REPLACEMENT CHARACTER}b?c"
        HOLD.set()
        assert (await bench.ended(added.id)).result == "noted"

    @pytest.mark.parametrize("how", ["nul", "number", "size", "object"])
    async def test_a_result_is_the_end_of_a_job_with_a_session_and_of_what_it_wrote(
        self, bench: Workbench, how: str
    ) -> None:
        row = await bench.ended((await bench.enqueue(writing, Words(how=how))).id)
        assert (row.status, row.attempts, row.result, row.note) == ("failed", 1, None, None)
        assert row.error.endswith(REFUSALS[how])

    @pytest.mark.parametrize("how", ["result", "cost"])
    async def test_a_result_or_a_cost_fails_the_job(self, bench: Workbench, how: str) -> None:
        row = await run(bench, how)
        assert row.status in ("failed", "dead")
        assert (row.result, row.cost_micro) == (None, None)


class TestEndsOfOtherKinds:
    @pytest.mark.parametrize("how", ["cancelled", "exit", "interrupt", "panic"])
    async def test_a_handler_that_ends_itself_has_failed(self, bench: Workbench, how: str) -> None:
        row = await run(bench, how)
        assert (row.status, row.attempts) == ("dead", 2)


@job("hostile_hold", queue="hostile_hold", attempts=1)
async def hold(_arguments: Words, _run: JobRun) -> None:
    HELD.set()
    await asyncio.Event().wait()


HELD = asyncio.Event()


class TestWorker:
    async def test_a_row_that_somebody_locks_does_not_silence_the_worker(self, bench: Workbench) -> None:
        HOLD.clear()
        added = await bench.enqueue(hostile, Words(how="note"))
        async with get_db_context(bench.app.platform.database) as session:
            while (  # noqa: ASYNC110 - the database does not tell
                await session.scalar(
                    text("SELECT 1 FROM jobs WHERE id = :id AND status = 'running' FOR UPDATE"),
                    {"id": added.id},
                )
            ) is None:
                await asyncio.sleep(0.005)
            beat = await bench.store.beat(
                bench.worker.info, [added.id], [Progress(added.id, 1, 0.5, "locked")]
            )
            assert beat.is_known
        HOLD.set()
        await bench.ended(added.id)

    async def test_it_stops_with_all_its_places_taken_and_gives_back_claims_it_never_heard_of(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.core.jobs.worker._worker._SILENT_BEATS", 2)
        jobs = settings.jobs.model_copy(update={"grace_s": 0, "concurrency": 1, "silent_s": 3})
        async with working(settings, (hold,), jobs=jobs) as bench:
            claim = bench.store.claim

            async def unanswered(worker: UUID, ids: Sequence[UUID]) -> list[ClaimedJob]:
                monkeypatch.setattr(bench.store, "claim", claim)
                await claim(worker, ids)
                raise CommitOutcomeUnknown

            monkeypatch.setattr(bench.store, "claim", unanswered)
            lost = (await bench.enqueue(hold, Words())).id
            await HELD.wait()  # It begins, after it was given back; then its reader waits for another place.
            row = await bench.row(lost)
            assert (row.status, row.attempts) == ("running", 1)
        async with working(settings, ()) as bench:
            assert (await bench.row(lost)).status == "queued"
            await bench.drop(lost)
