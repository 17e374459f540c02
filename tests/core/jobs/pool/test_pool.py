"""Jobs in real processes. One pool for all tests that do not need one of their own: its processes are dear."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import psutil
import pytest

from app.core.jobs import HandlerFailed, JobFailed, JobRejected, ProcessPool, job
from app.core.observability import log_sink
from app.features.heavy_calc.jobs import heavy_calc
from app.features.heavy_calc.schemas import HeavyJobInput
from app.features.heavy_calc.service import calculate
from tests.cases import each_case
from tests.core.jobs.pool.hands import PATIENCE_S, Told, claimed, full, gone, is_alive, order
from tests.core.jobs.pool.pool_jobs import Page, pool_echo, pool_order
from tests.leaks import LeakGuard
from tests.nursery import start


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ProcessPool]:
    pool = ProcessPool([pool_order, pool_echo, heavy_calc], 2)
    await pool.start()
    yield pool
    pids = pool.pids
    await pool.stop()
    assert pool.pids == []
    assert not any(is_alive(pid) for pid in pids)


class TestResults:
    async def test_a_job_knows_whose_it_is_and_leaves_the_machine_to_the_worker(
        self, pool: ProcessPool
    ) -> None:
        who = await order(pool, "who")
        assert who["pid"] != os.getpid()
        assert who["nice"] == os.nice(0) + 10
        assert (who["principal"], who["tenant"], who["traceparent"]) == ("somebody", "a tenant", "00-trace")
        assert who["attempt"] == 2
        assert (len(who["request_id"]), who["request_id"] in who["logged"]) == (36, True)
        assert '"policy":"job_pool_order"' in who["logged"]
        assert who["output_is_errors"]
        assert (who["threads"], who["kernel_threads"]) == ("1", 1)
        assert who["sockets"] == 1, "its link and none of ours"

    async def test_results_of_all_sizes_come_back(self, pool: ProcessPool) -> None:
        assert await order(pool, "nothing") is None
        most = pool_order.options.max_result - 2
        assert await order(pool, "text", most) == "x" * most
        page = Page(text="é\ud800".encode("utf-8", "replace").decode() * 9_000)
        packed = pool_echo.pack(page)
        assert len(packed) > 20_000
        assert await pool.run(pool_echo, claimed(pool_echo, packed), Told()) == packed

    async def test_the_example_calculates_there_what_it_calculates_here(self, pool: ProcessPool) -> None:
        wanted, told = HeavyJobInput(what="eigenvalue", size=100, seed=3), Told()
        packed = await pool.run(heavy_calc, claimed(heavy_calc, heavy_calc.pack(wanted)), told)
        assert packed is not None
        here = calculate(wanted, lambda fraction, words: None)
        assert json.loads(packed)["value"] == pytest.approx(here.value, rel=1e-9)
        assert told.said[-1][0] == 1.0

    async def test_the_last_thing_it_said_is_heard_and_not_all_of_the_rest(self, pool: ProcessPool) -> None:
        told = Told()
        assert await order(pool, "steps", 5_000, told) == 5_000
        assert told.said[-1] == (1.0, "step 5000")
        assert len(told.said) < 500
        assert (told.costs[0], told.costs[-1]) == (5, 7)

    async def test_what_a_job_says_after_its_end_is_not_heard_by_the_next(self, pool: ProcessPool) -> None:
        told = [Told() for _ in range(4)]
        await order(pool, "talk on", told=told[0])
        for one in told[1:]:
            await order(pool, "nothing", told=one)
        assert [one.said for one in told[1:]] == [[], [], []]


class TestErrors:
    async def test_a_refusal_comes_back_as_it_is(self, pool: ProcessPool) -> None:
        with pytest.raises(JobFailed, match=r"^There are no 12 planets\.$"):
            await order(pool, "refuse", 12)

    async def test_arguments_that_are_not_the_jobs_are_refused_there(self, pool: ProcessPool) -> None:
        with pytest.raises(JobRejected, match="does not take these arguments: number"):
            await pool.run(pool_order, claimed(pool_order, b'{"do":"who","number":"many"}'), Told())

    @each_case(
        ("do", "kind"),
        [
            ("fail", "ValueError"),
            ("exit", "SystemExit"),
            ("provider", "ConfigurationError"),
            ("unknown", "KeyError"),
        ],
    )
    async def test_any_other_error_is_its_kind(self, pool: ProcessPool, do: str, kind: str) -> None:
        before = await full(pool, 2)
        with pytest.raises(HandlerFailed, match=rf"^It failed with {kind}\.$") as caught:
            await order(pool, do, 1)
        assert caught.value.kind == kind
        assert pool.pids == before, "the process lives on"

    async def test_its_traceback_is_in_the_log_once_without_secrets(
        self, pool: ProcessPool, leak_guard: LeakGuard
    ) -> None:
        lines: list[bytes] = []
        with leak_guard.watching(), log_sink.tapped(lines.append), pytest.raises(HandlerFailed):
            await order(pool, "fail", 3)
        (line,) = [line for line in lines if b"failed_in_process" in line]
        assert b"ValueError: not 3" in line
        assert b"pool_jobs.py" in line
        assert b"job_id" in line
        assert b"hunter" not in line

    async def test_a_result_that_nobody_can_keep_is_the_end_of_it(self, pool: ProcessPool) -> None:
        with pytest.raises(JobFailed, match="may have 262,144 bytes, not 262,146"):
            await order(pool, "text", pool_order.options.max_result)
        with pytest.raises(JobFailed, match="is no JSON"):
            await order(pool, "object", 1)

    async def test_a_place_that_is_wrong_in_the_process_only_is_named_in_the_log(
        self, pool: ProcessPool, monkeypatch: pytest.MonkeyPatch, leak_guard: LeakGuard
    ) -> None:
        one = job("pool_echo")(pool_order.function)
        lines: list[bytes] = []
        with leak_guard.watching(), log_sink.tapped(lines.append), pytest.raises(HandlerFailed):
            await pool.run(one, claimed(one, b"{}"), Told())
        assert any(
            b"does not find the job pool_echo at tests.core.jobs.pool.pool_jobs:pool_order" in line
            for line in lines
        )


class TestDeaths:
    @each_case(("do", "number"), [("die", 0), ("die", 3), ("kill", signal.SIGKILL), ("kill", signal.SIGSEGV)])
    async def test_a_process_that_dies_fails_its_own_job_only(
        self, pool: ProcessPool, do: str, number: int
    ) -> None:
        told = Told()
        other = asyncio.create_task(order(pool, "spin", told=told))
        kept = int(await told.first())
        with pytest.raises(HandlerFailed, match="ProcessDied"):
            await order(pool, do, number)
        assert (await order(pool, "who"))["pid"] != kept
        assert not other.done()
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        await gone(kept)

    @each_case("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
    async def test_what_stops_a_service_does_not_stop_its_jobs(self, pool: ProcessPool, number: int) -> None:
        assert await order(pool, "kill", number) is None

    async def test_one_that_dies_while_it_has_nothing_to_do_is_replaced(self, pool: ProcessPool) -> None:
        first = (await order(pool, "who"))["pid"]
        os.kill(first, signal.SIGKILL)
        await gone(first)
        while first in pool.pids:  # noqa: ASYNC110 - until then a job given to it fails, and is tried again
            await asyncio.sleep(0.001)
        assert (await order(pool, "who"))["pid"] != first
        assert (await order(pool, "who"))["pid"] != first

    @each_case("number", [0, 4])
    async def test_what_a_job_started_ends_with_it(self, pool: ProcessPool, number: int) -> None:
        told = Told()
        task = asyncio.create_task(order(pool, "leave behind", number, told))
        left = [int(pid) for pid in (await told.first()).split()]
        if number:
            with pytest.raises(HandlerFailed, match="ProcessDied"):
                await task
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await gone(*left)

    async def test_the_process_that_makes_them_is_not_ended_by_what_stops_a_service(
        self, pool: ProcessPool
    ) -> None:
        maker = psutil.Process((await order(pool, "who"))["pid"]).ppid()
        assert maker != os.getpid()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            os.kill(maker, number)
        with pytest.raises(HandlerFailed):
            await order(pool, "die")
        with pytest.raises(HandlerFailed):
            await order(pool, "die")
        assert psutil.Process((await order(pool, "who"))["pid"]).ppid() == maker

    async def test_what_a_job_left_behind_ends_with_the_process_at_the_latest(self) -> None:
        pool, told = ProcessPool([pool_order], 1), Told()
        await pool.start()
        await order(pool, "leave behind", -1, told)
        left = [int(pid) for pid in (await told.first()).split()]
        assert all(is_alive(pid) for pid in left)
        await pool.stop()
        await gone(*left)

    async def test_after_so_many_jobs_a_process_is_replaced(self) -> None:
        pool = ProcessPool([pool_order], 1, jobs_per_process=2)
        await pool.start()
        pids = [(await order(pool, "who"))["pid"] for _ in range(5)]
        await pool.stop()
        assert [pids[0] == pids[1], pids[1] == pids[2], pids[2] == pids[3], pids[3] == pids[4]] == [
            True,
            False,
            True,
            False,
        ]
        await gone(*pids)


async def test_nothing_is_left_of_a_worker_that_is_killed() -> None:
    """One of its processes is busy, in a calculation that lets no other thread run."""
    reading, writing = os.pipe()
    worker = start("tests.core.jobs.pool.pool_worker", environment={"PATH": os.defpath}, stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as output:
        said = json.loads(await asyncio.to_thread(output.readline))
    assert len(said["jobs"]) == 2
    assert set(said["jobs"]) < set(said["family"])
    assert all(is_alive(pid) for pid in said["family"])
    worker.kill()
    assert worker.wait(PATIENCE_S) == -signal.SIGKILL
    await gone(*said["family"])


class TestLoop:
    """Nothing that another process does or leaves undone makes the loop wait: here it does nothing at all."""

    async def ticks(self, stopped: int, work: Awaitable[Any]) -> Any:
        """Go round the loop many times while ``stopped`` is, then let it go on, and wait for the work."""
        released: list[bool] = []

        def release() -> None:
            released.append(True)
            os.kill(stopped, signal.SIGCONT)

        guard = threading.Timer(PATIENCE_S, release)  # else a loop that waits would wait for ever
        os.kill(stopped, signal.SIGSTOP)
        guard.start()
        task = asyncio.ensure_future(work)
        for _ in range(2_000):
            await asyncio.sleep(0)
        guard.cancel()
        assert not released, "the loop stood still"
        assert not task.done()
        os.kill(stopped, signal.SIGCONT)
        return await task

    async def test_a_process_that_does_not_read_does_not_hold_it_up(self) -> None:
        pool = ProcessPool([pool_echo], 1)
        await pool.start()
        page = pool_echo.pack(Page(text="x" * 60_000))
        await pool.run(pool_echo, claimed(pool_echo, page), Told())
        work = pool.run(pool_echo, claimed(pool_echo, page), Told())
        assert await self.ticks(pool.pids[0], work) == page
        await pool.stop()

    async def test_starting_processes_does_not_hold_it_up(self, pool: ProcessPool) -> None:
        maker = psutil.Process((await order(pool, "who"))["pid"]).ppid()
        late = ProcessPool([pool_order], 1)

        async def first() -> Any:
            await late.start()
            return await order(late, "who")

        assert (await self.ticks(maker, first()))["attempt"] == 2
        await late.stop()
