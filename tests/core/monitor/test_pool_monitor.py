import asyncio

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool, Pool, StaticPool

from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.monitor import ConnectionPoolMonitor


async def test_a_pool_is_seen_as_it_fills_and_empties(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1, max_overflow=1, application_name="pool-monitor")
    monitor = ConnectionPoolMonitor(database.engine)
    assert (monitor.get_current_metrics().open, monitor.is_healthy()) == (0, True)
    async with database.connect():
        half = monitor.get_current_metrics()
        assert (half.pool_utilization_percent, half.limit, half.checked_out) == (50.0, 2, 1)
        async with database.connect():
            waiter = asyncio.create_task(database.ping())
            while not database.waiting:  # noqa: ASYNC110 - the pool tells nobody
                await asyncio.sleep(0)
            full = monitor.get_metrics_summary()
            assert not monitor.is_healthy(max_utilization=85.0)
            told = REGISTRY.get_sample_value("gatehouse_pool_utilization_percent", {"pool": "pool-monitor"})
    await waiter
    assert (full["current"]["pool_utilization_percent"], full["current"]["waiting"]) == (100.0, 1)
    assert (full["alert"], full["healthy"], told) == (True, False, 100.0)
    later = monitor.get_metrics_summary()
    assert (later["current"]["checked_out"], later["peak"]["checked_out"]) == (0, 2)
    assert (later["alert"], later["healthy"], later["samples"]) == (False, True, 6)
    assert later["average_utilization_percent"] == pytest.approx((0 + 0 + 50 + 100 + 100 + 0) / 6, abs=0.1)
    await database.close()


async def test_a_databases_pool_is_found_again_after_it_was_closed(postgres_url: str) -> None:
    database = Database(postgres_url)
    monitor = ConnectionPoolMonitor(database)
    await database.ping()
    assert monitor.get_current_metrics().open == 1
    await database.close()
    assert monitor.get_current_metrics().open == 0


@pytest.mark.parametrize("pool", [NullPool, StaticPool])
def test_a_pool_without_a_limit_is_never_full(pool: type[Pool]) -> None:
    engine = create_engine("sqlite://", poolclass=pool)
    monitor = ConnectionPoolMonitor(engine)
    with engine.connect():
        seen = monitor.get_current_metrics()
        assert (seen.pool, seen.limit, seen.pool_utilization_percent) == (pool.__name__, None, 0.0)
        assert monitor.is_healthy(max_utilization=1)
    engine.dispose()


def test_a_pool_that_may_grow_without_end_is_never_full(postgres_url: str) -> None:
    engine = create_engine("sqlite:///file::memory:", pool_size=1, max_overflow=-1, poolclass=None)
    seen = ConnectionPoolMonitor(engine).get_current_metrics()
    assert (seen.pool, seen.limit, seen.pool_utilization_percent) == ("QueuePool", None, 0.0)


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="an engine is needed"):
        ConnectionPoolMonitor("postgresql://")  # type: ignore[arg-type]
