from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.core.db import AsyncSession, Database
from app.core.monitor import DatabaseHealthCheck, IndexUsageAnalyzer, QueryLatencyTracker, UnusedIndex


@pytest.fixture
async def own(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url, pool_size=2, max_overflow=0)
    yield database
    await database.close()


async def test_a_database_that_is_well_is_healthy(own: Database) -> None:
    async with own.session() as session:
        check = DatabaseHealthCheck(own.engine, session)
        assert await check.is_healthy(max_pool_utilization=85.0, max_avg_query_time=60_000.0)
        report = await check.run_full_check()
        status = await check.get_health_status()
    assert (report.pool["current"]["limit"], report.server.reason) == (2, None)
    assert report.server.value is not None
    assert report.server.value.deadlocks >= 0
    assert report.unused_indexes.reason is None
    assert "records" in {table.name for table in report.largest_tables.value or ()}
    assert report.latency_ms is not None
    assert report.queries.query_count >= 1
    assert set(status) == {"healthy", "reasons", "latency_ms", "pool", "queries"}
    assert status["queries"]["query_count"] > report.queries.query_count


async def test_one_engine_has_one_tracker_unless_another_is_given(own: Database) -> None:
    async with own.session() as session:
        first, second = (DatabaseHealthCheck(own, session) for _ in range(2))
        assert first.latency_tracker is second.latency_tracker
        given = QueryLatencyTracker()
        assert DatabaseHealthCheck(own, session, latency=given).latency_tracker is given


async def test_a_full_pool_and_slow_statements_are_reasons(own: Database) -> None:
    tracker = QueryLatencyTracker()
    async with own.session() as session, own.session() as other:
        check = DatabaseHealthCheck(own, session, latency=tracker)
        await session.execute(text("SELECT 1"))
        await other.execute(text("SELECT 1"))
        assert (await check.get_health_status())["reasons"] == ["100.0 % of the pool are in use"]
        assert await check.is_healthy(max_pool_utilization=100.1)
        await other.rollback()
        tracker.record_query("SELECT 1", duration_ms=200.0)
        assert not await check.is_healthy()
        assert await check.is_healthy(max_avg_query_time=200.1)
        report = await check.run_full_check()
    assert (report.healthy, report.reasons) == (
        False,
        ("statements of the last minutes took 200.0 ms on average",),
    )
    assert [slow.statement for slow in report.slow_queries] == ["SELECT ?"]


class Forbidden(IndexUsageAnalyzer):
    """Asks for what its role may not read; PostgreSQL refuses, and the transaction is spoilt."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get_unused_indexes(self, **_: object) -> tuple[UnusedIndex, ...]:
        await self._session.execute(text("SET LOCAL ROLE pg_monitor"))
        await self._session.execute(text("SELECT * FROM records"))
        return ()


async def test_a_part_that_is_refused_leaves_the_others_and_the_transaction_alone(own: Database) -> None:
    async with own.session() as session:
        check = DatabaseHealthCheck(own, session)
        check.index_analyzer = Forbidden(session)
        report = await check.run_full_check()
        assert (report.healthy, report.unused_indexes.value) == (True, None)
        assert "pg_monitor" in str(report.unused_indexes.reason)
        assert report.largest_tables.value
        assert await session.scalar(text("SELECT count(*) FROM records")) is not None


async def test_a_server_that_is_away_is_a_reason_and_its_part_fails_alone() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none")
    async with nowhere.session() as session:
        check = DatabaseHealthCheck(nowhere, session)
        report = await check.run_full_check()
        assert not await check.is_healthy()
    assert (report.healthy, report.reasons) == (False, ("the server does not answer",))
    assert report.server.value is None
    assert report.server.reason
    await nowhere.close()
