import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from app.core.db import (
    ConnectionLeaked,
    ConnectionPool,
    ConstraintViolated,
    Database,
    DatabaseUnavailable,
    PoolCircuitOpen,
    PoolExhausted,
    configure,
    forbid_connection_leaks,
)
from app.core.errors import ConfigurationError
from app.core.observability import BreakerEvent, Event, EventHub
from app.core.resilience import ManualClock
from tests.servers import PrivateServer

NOWHERE = "postgresql+asyncpg://nobody@127.0.0.1:1/none"


@pytest.fixture
async def own(postgres_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """Two connections under a name that no other pool has."""
    name = f"pool {request.node.name}"
    database = Database(
        postgres_url, pool_size=1, max_overflow=1, pool_timeout_s=0.1, application_name=name[:60]
    )
    yield database
    await database.close()


def shown(metric: str, database: Database) -> float:
    name = database.breaker.dependency.removeprefix("database:")
    return REGISTRY.get_sample_value(f"gatehouse_pool_{metric}", {"pool": name}) or 0.0


class TestSessionScope:
    async def test_the_work_is_committed_after_the_block(self, own: Database, entries: None) -> None:
        async with ConnectionPool(own).session_scope() as session:
            await session.execute(text("INSERT INTO entries VALUES (1, 1, 'x')"))
        async with ConnectionPool(own).session_scope() as session:
            assert await session.scalar(text("SELECT count(*) FROM entries")) == 1

    async def test_an_error_undoes_it_and_goes_through(self, own: Database, entries: None) -> None:
        with pytest.raises(ZeroDivisionError):
            async with ConnectionPool(own).session_scope() as session:
                await session.execute(text(f"INSERT INTO entries VALUES (1, 1, '{1 / 0}')"))
        async with ConnectionPool(own).session_scope() as session:
            assert await session.scalar(text("SELECT count(*) FROM entries")) == 0

    async def test_what_the_driver_raises_leaves_it_translated(self, own: Database, entries: None) -> None:
        insert = text("INSERT INTO entries VALUES (1, 1, 'x')")

        async def twice() -> None:
            async with ConnectionPool(own).session_scope() as session:
                await session.execute(insert)
                await session.execute(insert)

        with pytest.raises(ConstraintViolated) as caught:
            await twice()
        assert (caught.value.sqlstate, caught.value.constraint) == ("23505", "pk_entries")

    async def test_without_an_argument_it_is_the_configured_database(self, own: Database) -> None:
        pool = ConnectionPool()
        configure(None)  # an application of another test may have left its own
        with pytest.raises(ConfigurationError):
            async with pool.session_scope():
                pass
        configure(own)
        try:
            async with pool.session_scope() as session:
                assert await session.scalar(text("SELECT 1")) == 1
        finally:
            configure(None)


class TestBreaker:
    async def test_an_outage_opens_it_and_a_probe_closes_it(self, private_postgres: PrivateServer) -> None:
        clock, hub, states = ManualClock(), EventHub(), list[str]()

        def note(event: Event) -> None:
            assert isinstance(event, BreakerEvent)
            states.append(event.state)

        hub.subscribe(BreakerEvent, note)
        database = Database(private_postgres.url, clock=clock, hub=hub)
        pool = ConnectionPool(database)
        private_postgres.kill()
        for _ in range(5):
            with pytest.raises(DatabaseUnavailable) as caught:
                await pool.validate()
            assert not isinstance(caught.value, PoolCircuitOpen)
        with pytest.raises(PoolCircuitOpen) as refused:
            async with pool.session_scope():
                pytest.fail("was let in")
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
        private_postgres.restart()
        with pytest.raises(PoolCircuitOpen):
            await pool.validate()
        clock.advance(1)
        async with pool.session_scope() as session:
            assert await session.scalar(text("SELECT 1")) == 1
        assert states == ["open", "half_open", "closed"]
        await database.close()

    async def test_a_full_pool_refused_rows_and_bugs_do_not_open_it(
        self, own: Database, entries: None
    ) -> None:
        pool = ConnectionPool(own)

        async def fail(statement: str) -> None:
            async with pool.session_scope() as session:
                await session.execute(text(statement))
                raise KeyError

        for _ in range(6):
            with pytest.raises(ConstraintViolated):
                await fail("INSERT INTO entries VALUES (2, 2, 'x'), (2, 2, 'x')")
            with pytest.raises(KeyError):
                await fail("SELECT 1")
        async with own.connect(), own.connect():
            for _ in range(6):
                with pytest.raises(PoolExhausted):
                    await fail("SELECT 1")
        await pool.validate()

    async def test_all_pools_of_a_database_share_it(self) -> None:
        database = Database(NOWHERE)
        for _ in range(5):
            with pytest.raises(DatabaseUnavailable):
                await ConnectionPool(database).validate()
        with pytest.raises(PoolCircuitOpen):
            await ConnectionPool(database).validate()


class TestUsesInsideEachOther:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def pool(self, clock: ManualClock) -> ConnectionPool:
        """Nobody is asked: what the database does is said by the test."""
        return ConnectionPool(Database(NOWHERE, clock=clock))

    @staticmethod
    async def fail(pool: ConnectionPool, *, depth: int) -> None:
        async with pool.guarded():
            if depth > 1:
                await TestUsesInsideEachOther.fail(pool, depth=depth - 1)
            raise DatabaseUnavailable

    async def test_one_outage_counts_once(self, pool: ConnectionPool) -> None:
        for _ in range(4):
            with pytest.raises(DatabaseUnavailable):
                await self.fail(pool, depth=3)
        state = pool.database.breaker.snapshot()
        assert (state.state, state.calls, state.failures) == ("closed", 4, 4)

    async def test_one_success_counts_once(self, pool: ConnectionPool) -> None:
        async with pool.guarded(), pool.guarded():
            pass
        assert pool.database.breaker.snapshot().calls == 1

    async def test_a_probe_with_another_use_inside_closes_it(
        self, pool: ConnectionPool, clock: ManualClock
    ) -> None:
        for _ in range(5):
            with pytest.raises(DatabaseUnavailable):
                await self.fail(pool, depth=1)
        clock.advance(1)
        async with pool.guarded(), pool.guarded():
            assert pool.database.breaker.snapshot().state == "half_open"
        assert pool.database.breaker.snapshot().state == "closed"

    async def test_a_long_one_does_not_switch_it_off_for_those_inside(
        self, pool: ConnectionPool, clock: ManualClock
    ) -> None:
        async with pool.guarded():
            for _ in range(5):
                with pytest.raises(DatabaseUnavailable):
                    await self.fail(pool, depth=1)
            with pytest.raises(PoolCircuitOpen):
                await self.fail(pool, depth=1)
            clock.advance(1)
            async with pool.guarded():
                pass
            assert pool.database.breaker.snapshot().state == "closed"

    async def test_a_task_that_outlives_one_is_on_its_own(
        self, pool: ConnectionPool, clock: ManualClock
    ) -> None:
        go_on = asyncio.Event()

        async def later() -> None:
            await go_on.wait()
            async with pool.guarded():
                pass

        async with pool.guarded():
            task = asyncio.create_task(later())
        go_on.set()
        await task
        assert pool.database.breaker.snapshot().calls == 2


class TestMetrics:
    async def test_size_and_use_follow_the_pool(self, own: Database) -> None:
        async with own.connect(), own.connect():
            assert (shown("size", own), shown("in_use", own)) == (2, 2)
        assert (shown("size", own), shown("in_use", own)) == (1, 0)
        assert shown("acquire_seconds_count", own) == 2
        await own.close()
        assert (shown("size", own), shown("in_use", own)) == (0, 0)
        await own.ping()
        assert (shown("size", own), shown("in_use", own)) == (1, 0)

    async def test_who_waits_is_counted_and_who_gets_nothing_too(self, own: Database) -> None:
        async with own.connect(), own.connect():
            waiting = asyncio.create_task(own.ping())
            async with asyncio.timeout(5):
                while not own.waiting:  # noqa: ASYNC110 - the pool tells nobody
                    await asyncio.sleep(0)
            assert shown("waiting", own) == 1
            with pytest.raises(PoolExhausted):
                await waiting
        assert (own.waiting, shown("waiting", own)) == (0, 0)
        labels = {"pool": own.breaker.dependency.removeprefix("database:"), "reason": "TimeoutError"}
        assert REGISTRY.get_sample_value("gatehouse_pool_acquire_failures_total", labels) == 1

    async def test_a_connection_that_broke_is_no_longer_counted(self, own: Database) -> None:
        async with own.session() as session:
            await session.execute(text("SELECT 1"))
            session.sync_session.invalidate()
        assert shown("in_use", own) == 0


class TestLog:
    async def test_its_inner_workings_are_told_only_on_request_as_those_of_every_pool(
        self, own: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        await own.ping()
        await own.close()
        assert caplog.messages == []
        caplog.set_level(logging.INFO, "sqlalchemy.pool")
        await own.ping()
        await own.close()
        assert any(message.startswith("Pool disposed") for message in caplog.messages)


class TestHealth:
    async def test_a_pool_that_answers_is_healthy(self, own: Database) -> None:
        health = await ConnectionPool(own).health()
        assert (health.is_healthy, health.breaker, health.waiting) == (True, "closed", 0)
        assert health.latency_s is not None
        assert health.latency_s > 0

    async def test_one_whose_connections_are_in_use_is_not(self, own: Database) -> None:
        async with own.connect(), own.connect():
            health = await ConnectionPool(own).health()
        assert not health.is_healthy
        assert health.status.utilization_percent == 100

    async def test_one_that_reaches_nothing_is_not_and_raises_nothing(self) -> None:
        health = await ConnectionPool(Database(NOWHERE)).health()
        assert (health.is_healthy, health.latency_s) == (False, None)


class TestLeaks:
    async def test_what_is_still_out_is_named_with_its_line(self, own: Database) -> None:
        session = own.session()
        with pytest.raises(ConnectionLeaked) as caught, forbid_connection_leaks(own):
            await session.execute(text("SELECT 1"))
        assert "test_pool.py" in str(caught.value)
        assert len(caught.value.places) == 1
        await session.close()

    async def test_what_came_back_or_was_out_before_is_no_leak(self, own: Database) -> None:
        async with own.connect():
            with forbid_connection_leaks(own):
                await own.ping()
            assert own.pool_status().checked_out == 1

    async def test_the_fixture_lets_an_honest_test_pass(
        self, database: Database, no_connection_leaks: None
    ) -> None:
        await database.ping()
        assert database.pool_status().checked_out == 0
