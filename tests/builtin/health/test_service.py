import asyncio
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text

from app.builtin.health.service import (
    Health,
    NotReady,
    Ping,
    SchemaBehind,
    database_health,
    database_pings,
)
from app.core.db import Database, DatabaseUnavailable, upgrade
from app.core.monitor import QueryLatencyTracker
from app.core.resilience import ManualClock


class Dependency:
    """Something that is pinged: counts, and answers when told."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def ping(self) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.fails:
            raise OSError("secret address")


class Process:
    """The knobs of one ``Health``."""

    def __init__(self, **pings: Ping) -> None:
        self.clock = ManualClock()
        self.draining = False
        self.health = Health(pings, draining=lambda: self.draining, clock=self.clock, timeout_s=0.05)


class TestCheck:
    async def test_all_answer_is_ready(self) -> None:
        process = Process(database=Dependency().ping, valkey=Dependency().ping)
        report = await process.health.require_ready()
        assert report.checks == {"database": True, "valkey": True}
        assert report.failing == ()

    async def test_without_pings_it_is_ready(self) -> None:
        assert (await Process().health.require_ready()).checks == {}

    async def test_what_fails_is_named_and_its_reason_is_not(self) -> None:
        bad = Dependency()
        bad.fails = True
        process = Process(database=Dependency().ping, valkey=bad.ping)
        with pytest.raises(NotReady) as caught:
            await process.health.require_ready()
        assert caught.value.failing == ("valkey",)
        assert caught.value.status == 503
        assert "secret" not in f"{caught.value.detail}{caught.value.extensions}"

    async def test_one_that_does_not_answer_in_time_has_failed_and_does_not_hold_up_the_others(self) -> None:
        silent, good = Dependency(), Dependency()
        silent.gate.clear()
        report = await Process(silent=silent.ping, good=good.ping).health.check()
        assert report.checks == {"silent": False, "good": True}

    async def test_pings_run_side_by_side(self) -> None:
        first = Dependency()
        first.gate.clear()

        async def release() -> None:
            first.gate.set()

        process = Process(first=first.ping, second=release)
        assert (await process.health.check()).failing == ()

    async def test_a_hundred_callers_are_one_round(self) -> None:
        dependency = Dependency()
        process = Process(database=dependency.ping)
        reports = await asyncio.gather(*(process.health.check() for _ in range(100)))
        assert dependency.calls == 1
        assert all(report.checks == {"database": True} for report in reports)

    async def test_a_result_serves_for_a_second(self) -> None:
        dependency = Dependency()
        process = Process(database=dependency.ping)
        await process.health.check()
        dependency.fails = True
        process.clock.advance(0.999)
        assert (await process.health.check()).failing == ()
        process.clock.advance(0.001)
        assert (await process.health.check()).failing == ("database",)
        assert dependency.calls == 2

    async def test_a_failure_is_kept_as_long_and_then_recovers(self) -> None:
        dependency = Dependency()
        dependency.fails = True
        process = Process(database=dependency.ping)
        assert (await process.health.check()).failing == ("database",)
        dependency.fails = False
        assert (await process.health.check()).failing == ("database",)
        process.clock.advance(1)
        assert (await process.health.check()).failing == ()

    async def test_a_caller_who_hangs_up_leaves_the_round_to_the_others(self) -> None:
        dependency = Dependency()
        dependency.gate.clear()
        process = Process(database=dependency.ping)
        impatient = asyncio.create_task(process.health.check())
        patient = asyncio.create_task(process.health.check())
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        dependency.gate.set()
        assert (await patient).failing == ()
        assert dependency.calls == 1

    async def test_draining_shows_at_once_though_the_checks_are_kept(self) -> None:
        dependency = Dependency()
        process = Process(database=dependency.ping)
        await process.health.check()
        process.draining = True
        with pytest.raises(NotReady) as caught:
            await process.health.require_ready()
        assert caught.value.failing == ("draining",)
        assert dependency.calls == 1


def of(database: Database) -> Health:
    """Of a real database, with time for a busy machine."""
    return Health(database_pings(database), draining=lambda: False, clock=ManualClock(), timeout_s=30.0)


class TestDatabase:
    async def test_a_migrated_database_passes(self, database: Database) -> None:
        report = await of(database).check()
        assert (report.checks, report.failing) == ({"database": True, "schema": True}, ())

    async def test_a_schema_that_is_behind_fails_until_it_is_migrated(self, empty_postgres_url: str) -> None:
        own = Database(empty_postgres_url)
        pings = database_pings(own)
        await pings["database"]()
        with pytest.raises(SchemaBehind):
            await pings["schema"]()
        await upgrade(empty_postgres_url)
        await pings["schema"]()
        await own.close()

    async def test_one_that_is_away_fails(self) -> None:
        pings = database_pings(Database("postgresql://u:p@127.0.0.1:1/none"))
        for ping in pings.values():
            with pytest.raises(DatabaseUnavailable):
                await ping()

    async def test_details_are_only_for_those_who_may_know(self, database: Database) -> None:
        health = of(database)
        short = await database_health(database, health, details=False)
        assert short.model_dump(exclude_none=True) == {"status": "ok"}
        full = await database_health(database, health, details=True)
        async with database.connect() as connection:
            version = await connection.scalar(text("SHOW server_version"))
        assert str(version).startswith(full.server_version or "none")
        assert full.pool is not None
        assert full.pool.limit == 15
        assert full.latency_ms is not None

    async def test_a_failing_database_is_not_ok(self) -> None:
        away = Database("postgresql://u:p@127.0.0.1:1/none")
        health = of(away)
        with pytest.raises(NotReady) as caught:
            await database_health(away, health, details=True)
        assert caught.value.failing == ("database",)


async def test_a_pool_that_is_nearly_full_and_a_high_mean_are_alerts(postgres_url: str) -> None:
    database, latency = Database(postgres_url, pool_size=5, max_overflow=0), QueryLatencyTracker()
    health = of(database)
    async with AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(database.connect())
        latency.record_query("SELECT 1", duration_ms=200)
        well = await database_health(database, health, details=True, latency=latency)
        await held.enter_async_context(database.connect())
        latency.record_query("SELECT 1", duration_ms=202)
        ill = await database_health(database, health, details=True, latency=latency)
        short = await database_health(database, health, details=False, latency=latency)
    await database.close()
    assert (well.alerts, ill.alerts, short.alerts) == ([], ["pool", "latency"], None)
    assert ill.statements is not None
    assert (ill.statements.statements, ill.statements.avg_ms, ill.statements.max_ms) == (2, 201, 202)
    assert (ill.statements.slow_since_start, short.statements) == (2, None)
