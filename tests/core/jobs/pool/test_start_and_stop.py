"""Which pools can be, how they begin, and how they end."""

import asyncio
from typing import Any

import pytest

from app.core.errors import ConfigurationError
from app.core.jobs import HandlerFailed, JobRun, ProcessPool, job
from app.core.jobs.pool._child import Manner
from app.core.jobs.pool._process import launch
from app.core.observability import log_sink
from tests.cases import each_case
from tests.core.jobs.pool.hands import Told, gone, order
from tests.core.jobs.pool.pool_jobs import Order, pool_echo, pool_order
from tests.leaks import LeakGuard


class TestConfiguration:
    @each_case(
        ("options", "words"),
        [
            ({"processes": 0}, "processes must be 1 to 256"),
            ({"processes": 257}, "processes must be 1 to 256"),
            ({"jobs_per_process": 0}, "jobs_per_process must be 1 or more"),
            ({"nice": -1}, "nice must be 0 to 19"),
            ({"nice": 20}, "nice must be 0 to 19"),
        ],
    )
    def test_options_outside_their_range_are_refused(self, options: dict[str, int], words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            ProcessPool([], **{"processes": 1, **options})

    def test_a_job_that_another_process_cannot_find_is_refused_with_its_place(self) -> None:
        @job("pool_hidden")
        def hidden(arguments: Order, run: JobRun) -> None:
            """Inside a function."""

        with pytest.raises(
            ConfigurationError, match=r"pool_hidden at .*test_start_and_stop:.*<locals>.hidden"
        ):
            ProcessPool([hidden], 1)

    def test_so_is_one_whose_name_is_anothers(self) -> None:
        with pytest.raises(
            ConfigurationError, match=r"pool_other at tests\.core\.jobs\.pool\.pool_jobs:pool_order"
        ):
            ProcessPool([job("pool_other")(pool_order.function)], 1)

    def test_so_is_one_of_a_script(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one = job("pool_script")(pool_echo.function)
        monkeypatch.setattr(pool_echo.function, "__module__", "__main__")
        with pytest.raises(ConfigurationError, match="pool_script is declared in a script"):
            ProcessPool([one], 1)

    async def test_while_there_is_no_place_for_a_process_it_is_asked_for_again(
        self, monkeypatch: pytest.MonkeyPatch, leak_guard: LeakGuard
    ) -> None:
        calls: list[int] = []

        def full(manner: Manner) -> Any:
            calls.append(1)
            if len(calls) == 1:
                raise BlockingIOError("no process more")
            return launch(manner)

        monkeypatch.setattr("app.core.jobs.pool._pool.launch", full)
        pool, lines = ProcessPool([pool_order], 1), list[bytes]()
        with leak_guard.watching(), log_sink.tapped(lines.append):
            await pool.start()
            assert await order(pool, "nothing") is None
            await pool.stop()
        assert len(calls) == 2
        assert [b"BlockingIOError" in line for line in lines if b"process_not_started" in line] == [True]


class TestStop:
    async def test_a_job_in_work_may_end_and_one_that_does_not_is_killed(self) -> None:
        pool, first, second = ProcessPool([pool_order], 2), Told(), Told()
        await pool.start()
        hangs = asyncio.create_task(order(pool, "spin", told=first))
        ends = asyncio.create_task(order(pool, "steps", 1000, told=second))
        pid = int(await first.first())
        await second.first()
        await pool.stop(0.3)
        assert await ends == 1000
        with pytest.raises(HandlerFailed, match="ProcessDied"):
            await hangs
        await gone(pid)
        assert pool.pids == []
        with pytest.raises(HandlerFailed, match="PoolStopped"):
            await order(pool, "nothing")

    async def test_those_who_wait_for_a_process_are_told(self) -> None:
        pool = ProcessPool([pool_order], 1)
        await pool.start()
        waiting = [asyncio.create_task(order(pool, "nothing")) for _ in range(2)]
        await asyncio.sleep(0)
        await pool.stop(0)
        for one in waiting:
            with pytest.raises(HandlerFailed, match="PoolStopped"):
                await one
        assert pool.pids == []

    async def test_without_jobs_for_it_nothing_is_started(self) -> None:
        @job("pool_async")
        async def elsewhere(arguments: Order, run: JobRun) -> None:
            """Runs in the loop."""

        pool = ProcessPool([elsewhere], 2)
        await pool.start()
        assert pool.pids == []
        with pytest.raises(ConfigurationError, match="was not told of the job pool_order"):
            await order(pool, "nothing")
        await pool.stop()
