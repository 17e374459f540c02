"""One timer for many deadlines, with the cancellation rules of asyncio.timeout."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from app.core.resilience import Deadlines

NEVER = 3600.0


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    deadlines = Deadlines()
    yield deadlines
    deadlines.close()


async def block(deadlines: Deadlines, seconds: float, work: float = NEVER) -> str:
    watch = deadlines.watch(monotonic() + seconds)
    try:
        await asyncio.sleep(work)
    except asyncio.CancelledError:
        if watch.finish():
            return "late"
        raise
    watch.finish()
    return "done"


async def test_a_block_that_is_done_in_time_is_left_alone(deadlines: Deadlines) -> None:
    assert await block(deadlines, NEVER, work=0) == "done"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_is_cancelled_at_its_deadline_and_the_task_goes_on(deadlines: Deadlines) -> None:
    assert await block(deadlines, 0.01) == "late"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await block(deadlines, NEVER, work=0) == "done"


async def test_a_deadline_that_has_passed_cancels_at_the_first_wait(deadlines: Deadlines) -> None:
    assert await block(deadlines, -1) == "late"


async def test_an_earlier_deadline_that_comes_later_is_kept(deadlines: Deadlines) -> None:
    slow = asyncio.create_task(block(deadlines, NEVER))
    await asyncio.sleep(0)
    assert await block(deadlines, 0.01) == "late"
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow


async def test_a_later_deadline_is_armed_after_an_earlier_one(deadlines: Deadlines) -> None:
    both = await asyncio.gather(block(deadlines, 0.01), block(deadlines, 0.02))
    assert list(both) == ["late", "late"]


async def test_a_cancellation_from_outside_is_not_taken_for_the_deadline(deadlines: Deadlines) -> None:
    task = asyncio.create_task(block(deadlines, NEVER))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_at_once_is_the_outer_cancellation(deadlines: Deadlines) -> None:
    task = asyncio.create_task(block(deadlines, -1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_finished_blocks_do_not_pile_up(deadlines: Deadlines) -> None:
    for _ in range(5000):
        deadlines.watch(monotonic() + NEVER).finish()
    assert len(deadlines) <= 1024


async def test_a_close_forgets_every_deadline(deadlines: Deadlines) -> None:
    waiting = asyncio.create_task(block(deadlines, 0.01, work=0.03))
    await asyncio.sleep(0)
    deadlines.close()
    assert await waiting == "done"
