"""Each question once in a few seconds."""

import asyncio

import pytest

from app.builtin.db_monitor.service import Board
from app.builtin.db_monitor.service.board import WORKING
from app.core.monitor import MonitorTimeout
from app.core.resilience import ManualClock


class Asked:
    def __init__(self) -> None:
        self.times = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.times += 1
        await self.go.wait()
        return self.times


async def test_who_comes_meanwhile_and_soon_after_gets_the_same_answer() -> None:
    clock, asked = ManualClock(), Asked()
    board = Board(clock, keep_s=3)
    looks = [asyncio.create_task(board.look("a", asked)) for _ in range(5)]
    await asyncio.sleep(0)
    asked.go.set()
    assert {(await look).value for look in looks} == {1}
    clock.advance(2.9)
    assert (await board.look("a", asked)).value == 1
    assert (await board.look(("a", 1), asked)).value == 2
    clock.advance(0.2)
    assert (await board.look("a", asked)).value == 3
    assert board._locks == {}


async def test_when_the_first_goes_away_the_next_asks() -> None:
    asked = Asked()
    board = Board(ManualClock())
    first, second = (asyncio.create_task(board.look("a", asked)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    asked.go.set()
    assert (await second).value == 2


async def test_a_server_that_does_not_answer_is_not_asked_by_everybody() -> None:
    times = 0

    async def refuse() -> int:
        nonlocal times
        times += 1
        raise MonitorTimeout

    board = Board(ManualClock())
    found = [await board.look("a", refuse) for _ in range(3)]
    assert times == 1
    assert found[0].value is None
    assert found[0].reason == "The server did not answer in the time that this question may take"


async def test_what_is_dear_is_kept_longer_and_known_without_asking() -> None:
    clock = ManualClock()
    board = Board(clock)

    async def answer() -> int:
        return 1

    async def refuse() -> int:
        raise MonitorTimeout

    assert board.known("a") is None
    await board.look("a", answer, keep_s=300)
    await board.look("b", refuse, keep_s=300)
    clock.advance(299)
    known = board.known("a")
    assert known is not None
    assert known.value == 1
    assert board.known("b") is None
    clock.advance(2)
    assert board.known("a") is None


async def test_only_so_many_are_kept() -> None:
    board = Board(ManualClock())

    async def one() -> int:
        return 1

    for number in range(300):
        await board.look(number, one)
    assert len(board._kept) == 256


async def test_a_dear_question_is_not_waited_for_and_found_later() -> None:
    clock, asked = ManualClock(), Asked()
    board = Board(clock)
    first, second = [await board.glance("dear", asked, keep_s=300, patience_s=0) for _ in range(2)]
    assert (first.value, first.reason, second.reason) == (None, WORKING, WORKING)
    asked.go.set()
    assert (await board.glance("dear", asked, keep_s=300, patience_s=60)).value == 1
    clock.advance(299)
    assert (await board.glance("dear", asked, keep_s=300, patience_s=0)).value == 1
    assert asked.times == 1
    assert board._working == {}


async def test_a_reader_who_leaves_takes_no_dear_question_with_him() -> None:
    asked = Asked()
    board = Board(ManualClock())
    reader = asyncio.create_task(board.glance("dear", asked, keep_s=300, patience_s=60))
    await asyncio.sleep(0)
    reader.cancel()
    asked.go.set()
    assert (await board.glance("dear", asked, keep_s=300, patience_s=60)).value == 1
