"""Periodic work on a real PostgreSQL; time is told to pass."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.jobs import Periodic, PeriodicRunner
from app.core.observability import EventHub, PeriodicEvent
from tests.cases import each_case
from tests.garbage import own_garbage
from tests.servers import PrivateServer

PATIENCE_S = 20.0


class Sleeps:
    """A sleep that ends when the test says so; remembers how long was asked for."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._changed = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._changed.set()
        await future

    async def pass_(self) -> None:
        """Wait until somebody sleeps, and wake all."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._waiting:
                self._changed.clear()
                await self._changed.wait()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def settle(self) -> None:
        """Wait until somebody sleeps again: the turn before is over."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._waiting:
                self._changed.clear()
                await self._changed.wait()


class Work:
    def __init__(self) -> None:
        self.runs = 0
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.began = asyncio.Event()

    async def __call__(self) -> None:
        self.began.set()
        if self.gate is not None:
            await self.gate.wait()
        self.runs += 1
        if self.error is not None:
            raise self.error


class Process:
    """One runner with its sleep, its work and what it reported."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.sleeps, self.work, self.events = Sleeps(), Work(), list[PeriodicEvent]()
        hub = EventHub()
        hub.subscribe(PeriodicEvent, self.events.append)
        task = Periodic(name="sweep", every_s=5, work=self.work, **options.pop("task", {}))
        self.task = task
        self.runner = PeriodicRunner(
            database,
            hub,
            [task],
            sleep=self.sleeps,
            rng=lambda: 0.5,
            **{"stop_limit_s": PATIENCE_S, **options},
        )

    async def turn(self) -> str:
        """One pause, one turn."""
        await self.sleeps.pass_()
        await self.sleeps.settle()
        return self.events[-1].outcome


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(database: Database) -> AsyncIterator[Start]:
    """Starts processes and stops them after the test."""
    running: list[Process] = []

    async def begin(database: Database = database, **options: Any) -> Process:
        process = Process(database, **options)
        running.append(process)
        await process.runner.start()
        await process.sleeps.settle()
        return process

    yield begin
    for process in running:
        await process.runner.stop()


async def lock_holders(database: Database) -> list[int]:
    async with database.connect() as connection:
        pids = await connection.scalars(
            text(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )
        return list(pids)


async def kill_holder(database: Database) -> None:
    (pid,) = await lock_holders(database)
    async with database.connect() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


class TestTurns:
    async def test_the_first_comes_within_the_period_and_the_next_a_period_later(self, start: Start) -> None:
        process = await start()
        assert await process.turn() == "ok"
        assert await process.turn() == "ok"
        assert process.work.runs == 2
        assert process.sleeps.asked == [2.5, 5.0, 5.0]

    async def test_a_failure_is_reported_and_the_pause_doubles_up_to_a_minute(self, start: Start) -> None:
        process = await start()
        process.work.error = RuntimeError("no")
        for _ in range(6):
            assert await process.turn() == "failed"
        assert process.sleeps.asked[1:] == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
        process.work.error = None
        assert await process.turn() == "ok"
        assert process.sleeps.asked[-1] == 5.0

    async def test_a_run_that_takes_too_long_is_cancelled_and_fails(self, start: Start) -> None:
        process = await start(task={"limit_s": 1})
        process.work.gate = asyncio.Event()
        assert await process.turn() == "failed"
        assert process.work.runs == 0

    async def test_work_that_all_do_needs_no_database(self, start: Start) -> None:
        dead = Database("postgresql+asyncpg://app:word@127.0.0.1:1/app")
        process = await start(dead, task={"leader": False})
        assert await process.turn() == "ok"
        assert process.events[-1].leads

    async def test_without_the_database_a_leaders_turn_fails_and_the_loop_goes_on(self, start: Start) -> None:
        process = await start(Database("postgresql+asyncpg://app:word@127.0.0.1:1/app"))
        assert [await process.turn() for _ in range(3)] == ["failed"] * 3

    async def test_two_tasks_of_one_name_are_refused(self, database: Database) -> None:
        task = Periodic(name="twice", every_s=5, work=Work())
        with pytest.raises(ConfigurationError, match="twice"):
            PeriodicRunner(database, EventHub(), [task, task])

    @each_case(
        "options",
        [{"every_s": 0}, {"every_s": 1e6}, {"name": "No"}, {"name": ""}, {"limit_s": 0}, {"limit_s": 1e6}],
    )
    def test_options_outside_their_range_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="must"):
            Periodic(**{"name": "a", "every_s": 5, "work": Work(), **options})


class TestLeadership:
    async def test_of_two_processes_one_works(self, start: Start) -> None:
        first, second = await start(), await start()
        assert [await first.turn(), await second.turn()] == ["ok", "standby"]
        assert [await first.turn(), await second.turn()] == ["ok", "standby"]
        assert (first.work.runs, second.work.runs) == (2, 0)
        assert [first.events[-1].leads, second.events[-1].leads] == [True, False]

    async def test_the_other_takes_over_when_the_leader_stops(self, start: Start) -> None:
        first, second = await start(), await start()
        await first.turn()
        await first.runner.stop()
        assert await second.turn() == "ok"

    async def test_the_other_takes_over_when_the_leaders_connection_is_killed(
        self, start: Start, database: Database
    ) -> None:
        first, second = await start(), await start()
        assert [await first.turn(), await second.turn()] == ["ok", "standby"]
        await kill_holder(database)
        assert [await second.turn(), await first.turn()] == ["ok", "standby"]

    async def test_a_leader_whose_connection_is_killed_leads_again_when_nobody_else_came(
        self, start: Start, database: Database
    ) -> None:
        process = await start()
        await process.turn()
        await kill_holder(database)
        assert await process.turn() == "ok"
        assert len(await lock_holders(database)) == 1

    async def test_leading_is_not_counted_twice(self, start: Start, database: Database) -> None:
        process = await start()
        for _ in range(3):
            await process.turn()
        async with database.connect() as connection:
            assert (
                await connection.scalar(
                    text(
                        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
                        "WHERE locktype = 'advisory' AND datname = current_database()"
                    )
                )
                == 1
            )
        await process.runner.stop()
        assert await lock_holders(database) == []

    async def test_it_takes_no_place_in_the_pool(self, start: Start, database: Database) -> None:
        process = await start()
        await process.turn()
        assert database.pool_status().checked_out == 0

    async def test_behind_a_pooler_the_lock_is_the_transactions(
        self, start: Start, postgres_url: str
    ) -> None:
        pooled = Database(postgres_url + ("&" if "?" in postgres_url else "?") + "pgbouncer=true")
        assert pooled.through_pooler
        first, second = await start(pooled), await start()
        assert [await first.turn(), await second.turn()] == ["ok", "standby"]
        assert await first.turn() == "ok"
        await first.runner.stop()
        assert await second.turn() == "ok"

    async def test_it_survives_a_restart_of_the_database(
        self, start: Start, private_postgres: PrivateServer
    ) -> None:
        database = Database(private_postgres.url)
        process = await start(database)
        assert await process.turn() == "ok"
        private_postgres.kill()
        assert await process.turn() == "failed"
        private_postgres.restart()
        assert await process.turn() == "ok"


class TestStop:
    async def test_a_resting_loop_ends_at_once(self, start: Start) -> None:
        process = await start()
        async with asyncio.timeout(5):
            await process.runner.stop()
        assert process.work.runs == 0

    async def test_a_run_in_progress_is_finished(self, start: Start) -> None:
        process = await start()
        process.work.gate = asyncio.Event()
        await process.sleeps.pass_()
        await process.work.began.wait()
        stopping = asyncio.create_task(process.runner.stop())
        await asyncio.sleep(0)
        process.work.gate.set()
        await stopping
        assert process.work.runs == 1

    async def test_a_run_that_does_not_end_is_cancelled_and_the_lead_given_back(
        self, start: Start, database: Database
    ) -> None:
        with own_garbage() as collect:
            process = await start(stop_limit_s=0.01)
            process.work.gate = asyncio.Event()
            await process.sleeps.pass_()
            await process.work.began.wait()
            await process.runner.stop()
            assert process.work.runs == 0
            assert await lock_holders(database) == []
            collect()  # a connection that was dropped without being closed would warn here
