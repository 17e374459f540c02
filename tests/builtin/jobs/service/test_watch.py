"""Many wait, one asks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.builtin.jobs.repository import JobState
from app.builtin.jobs.service import JobWatch, TooManyWaits, WatchIsFull
from app.core.errors import Unavailable

QUEUED = JobState("queued", 0, None, None)
HALF = JobState("running", 1, 0.5, "half")
DONE = JobState("succeeded", 1, 1.0, None)


class Bench:
    """A watch whose time passes by ``tick``, of jobs that are in ``states``."""

    def __init__(self, **options: Any) -> None:
        self.states: dict[UUID, JobState] = {}
        self.asked: list[int] = []
        self.error: Exception | None = None
        self.is_draining = False
        self.now = 100.0
        self._ticks = asyncio.Semaphore(0)
        self.answers = asyncio.Event()
        self.answers.set()
        self.watch = JobWatch(
            self._read, clock=self, is_draining=lambda: self.is_draining, sleep=self._sleep, **options
        )

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def _sleep(self, seconds: float) -> None:
        await self._ticks.acquire()
        self.now += seconds

    async def _read(self, ids: Sequence[UUID]) -> dict[UUID, JobState]:
        self.asked.append(len(ids))
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return {job_id: self.states[job_id] for job_id in ids if job_id in self.states}

    async def tick(self) -> None:
        """One question later."""
        self._ticks.release()
        await self.settle()

    async def settle(self) -> None:
        """Whoever has heard something has acted on it."""
        for _ in range(5):
            await asyncio.sleep(0)

    def queued(self) -> UUID:
        job_id = uuid4()
        self.states[job_id] = QUEUED
        return job_id

    def wait(self, job_id: UUID, wait_s: float = 60.0) -> "asyncio.Task[list[JobState]]":
        """Everything that somebody who waits is told, until nothing comes any more."""

        async def told() -> list[JobState]:
            seen = []
            with self.watch.watching(job_id, QUEUED, wait_s) as watching:
                while (state := await watching.next()) is not None:
                    seen.append(state)
                    if not state.is_open:
                        break
            return seen

        return asyncio.create_task(told())


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Asks no more when the test is over."""
    bench = Bench(most=3, most_each=2)
    yield bench
    await bench.watch.close()


async def test_a_thousand_who_wait_cost_one_question_a_turn_and_nobody_who_waits_none(bench: Bench) -> None:
    ids = [bench.queued() for _ in range(500)]
    tasks = [bench.wait(job_id) for job_id in ids * 2]
    await bench.tick()
    bench.states = dict.fromkeys(ids, HALF)
    await bench.tick()
    await bench.tick()
    bench.states = dict.fromkeys(ids, DONE)
    await bench.tick()
    assert [await task for task in tasks] == [[HALF, DONE]] * 1000
    assert bench.asked == [500] * 4
    await bench.tick()
    assert bench.asked == [500] * 4
    again = bench.wait(ids[0])
    await bench.tick()
    assert await again == [DONE]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda bench: setattr(bench, "is_draining", True), [HALF]),
        (lambda bench: setattr(bench, "now", bench.now + 60), [HALF]),
        (lambda bench: bench.states.clear(), []),
    ],
    ids=["the process stops", "the time is over", "the job is gone"],
)
async def test_a_wait_ends_with_what_is_known_by_then(
    bench: Bench, change: Any, told: list[JobState]
) -> None:
    job_id = bench.queued()
    task = bench.wait(job_id, 1.0)
    await bench.tick()
    assert not task.done()
    bench.states[job_id] = HALF
    change(bench)
    await bench.tick()
    assert await task == told
    assert bench.watch.waiting == 0


async def test_an_outage_is_told_to_all_who_wait_and_those_who_come_later_are_served(bench: Bench) -> None:
    job_id = bench.queued()
    tasks = [bench.wait(job_id) for _ in range(3)]
    bench.error = Unavailable("away")
    await bench.tick()
    assert all(isinstance(one, Unavailable) for one in await asyncio.gather(*tasks, return_exceptions=True))
    bench.error, bench.states[job_id] = None, DONE
    later = bench.wait(job_id)
    await bench.tick()
    await bench.tick()
    assert await later == [DONE]


@pytest.mark.parametrize("error", [None, Unavailable("away")], ids=["answered", "failed"])
async def test_who_comes_while_the_database_is_asked_waits_for_the_next_answer(
    bench: Bench, error: Exception | None
) -> None:
    first = bench.wait(job_id := bench.queued())
    bench.answers.clear()
    await bench.tick()
    late = [bench.wait(job_id), bench.wait(another := bench.queued())]
    await bench.settle()
    bench.error = error
    bench.answers.set()
    await bench.settle()
    bench.error, bench.states = None, dict.fromkeys((job_id, another), DONE)
    await bench.tick()
    assert await asyncio.gather(*late) == [[DONE], [DONE]]
    (told,) = await asyncio.gather(first, return_exceptions=True)
    assert told == (error or [DONE])


async def test_seats_are_bounded_for_all_and_for_each_and_free_again(bench: Bench) -> None:
    watch = bench.watch
    with watch.seat("ann"), watch.seat("ann"):
        with pytest.raises(TooManyWaits) as each, watch.seat("ann"):
            pass
        with watch.seat("bob"), pytest.raises(WatchIsFull) as full, watch.seat("cyd"):
            pass
        with watch.seat("bob"):
            assert watch.waiting == 3
    assert watch.waiting == 0
    assert (each.value.status, full.value.status) == (429, 503)
    assert each.value.headers["Retry-After"] == full.value.headers["Retry-After"] == "2"
    with watch.seat("ann"), watch.seat("ann"):
        assert watch.waiting == 2


async def test_close_ends_the_questions(bench: Bench) -> None:
    task = bench.wait(bench.queued())
    await bench.tick()
    await bench.watch.close()
    await bench.tick()
    assert bench.asked == [1]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
