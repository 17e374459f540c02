import asyncio
from collections.abc import AsyncIterator, Mapping

import asyncpg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from app.core.db import Database
from app.core.monitor import DeadlockAudit, MonitorServer, server_counters
from tests.conftest import TEMPLATE
from tests.counting import counting_database


async def deadlock(url: str) -> None:
    """Two transactions wait for each other; the server ends one of them and has counted that when this returns."""
    first, second = [await asyncpg.connect(url) for _ in range(2)]
    for connection, lock in ((first, 1), (second, 2)):
        await connection.execute("SET deadlock_timeout = '5ms'; BEGIN")
        await connection.execute(f"SELECT pg_advisory_xact_lock({lock})")
    outcomes = await asyncio.gather(
        first.execute("SELECT pg_advisory_xact_lock(2)"),
        second.execute("SELECT pg_advisory_xact_lock(1)"),
        return_exceptions=True,
    )
    assert asyncpg.DeadlockDetectedError in {type(outcome) for outcome in outcomes}
    for connection in (first, second):
        await connection.execute("ROLLBACK; SELECT pg_stat_force_next_flush()")
        await connection.execute("SELECT 1")
        await connection.close()


@pytest.fixture
async def database(
    servers: Mapping[str, str], worker_number: int, postgres_url: str
) -> AsyncIterator[Database]:
    """One in which no other test's deadlocks are counted, as the server does some seconds late; ``postgres_url`` makes the template."""
    async with counting_database(servers, f"deadlocks_{worker_number}", template=TEMPLATE) as database:
        yield database


async def test_new_deadlocks_are_told_once_a_day_across_restarts(
    server: MonitorServer, database: Database
) -> None:
    url = database.url.replace("+asyncpg", "")
    with capture_logs() as logs:
        first = await DeadlockAudit(server, database, every_s=0).audit()
        await deadlock(url)
        second = await DeadlockAudit(server, database, every_s=0).audit()
        third = await DeadlockAudit(server, database, every_s=0).audit()
        assert await DeadlockAudit(server, database).audit() is None
    assert first is not None and second is not None and third is not None  # noqa: PT018
    assert (first.new, first.per_day) == (None, 0)
    assert (second.new, second.total - first.total, third.new) == (1, 1, 0)
    assert second.per_day > 0
    told = [
        (log["event"], log["log_level"], log["new"]) for log in logs if log["event"] == "database.deadlocks"
    ]
    assert told == [
        ("database.deadlocks", level, new) for level, new in (("info", None), ("warning", 1), ("info", 0))
    ]

    counters = await server.put(server_counters)
    assert counters.transaction_age > 0
    labels = {"database": counters.database}
    assert REGISTRY.get_sample_value("gatehouse_database_deadlocks", labels) == second.total
    assert REGISTRY.get_sample_value("gatehouse_database_transaction_age", labels) is not None
