"""Document 003: how full the pool is, how long statements take, and whether all is well."""

import re
from pathlib import Path

import yaml
from sqlalchemy import text

from app.builtin.db_monitor.jobs import periodic
from app.builtin.db_monitor.service import provide_monitor
from app.core.db import Database
from app.core.monitor import (
    MEAN_ALERT_MS,
    POOL_ALERT_PERCENT,
    ConnectionPoolMonitor,
    DatabaseHealthCheck,
    QueryLatencyTracker,
)
from app.registry import Feature
from app.settings import Settings
from tests.gated import serving

RULES = Path(__file__).parents[2] / "docs/monitoring/alerts.yml"


def rule(alert: str) -> str:
    """The expression of an alert in Prometheus."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    (found,) = [each["expr"] for group in groups for each in group["rules"] if each["alert"] == alert]
    return str(found).strip()


async def test_003_19_how_full_the_pool_is(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=2, max_overflow=2)
    monitor = ConnectionPoolMonitor(database.engine)
    async with database.connect():
        metrics = monitor.get_current_metrics()
        assert f"Utilization: {metrics.pool_utilization_percent}%" == "Utilization: 25.0%"
        assert monitor.is_healthy(max_utilization=85.0)
        assert not monitor.is_healthy(max_utilization=25.0)
        summary = monitor.get_metrics_summary()
    assert (summary["current"]["checked_out"], summary["healthy"], summary["alert"]) == (1, True, False)
    await database.close()


def test_003_20_how_long_statements_take() -> None:
    tracker = QueryLatencyTracker(slow_query_threshold_ms=100)
    tracker.record_query("SELECT * FROM persons", duration_ms=45.5)
    metrics = tracker.get_metrics()
    assert f"Avg: {metrics.avg_duration_ms}ms, Slow: {metrics.slow_query_count}" == "Avg: 45.5ms, Slow: 0"
    tracker.record_query("SELECT * FROM persons", duration_ms=154.5)
    (slow,) = tracker.get_slow_queries(limit=5)
    assert (slow.statement, slow.avg_duration_ms) == ("SELECT * FROM persons", 100)
    assert tracker.get_metrics().slow_query_count == 1


async def test_003_23_everything_in_one_check(postgres_url: str) -> None:
    database = Database(postgres_url)
    async with database.session() as session:
        # What asks the server is awaited, so all three are.
        health_check = DatabaseHealthCheck(database.engine, session)
        report = await health_check.run_full_check()
        status = await health_check.get_health_status()
        assert status["reasons"] == list(report.reasons)
        assert report.largest_tables.value
        assert report.unused_indexes.value is not None
        is_healthy = await health_check.is_healthy(max_pool_utilization=85.0, max_avg_query_time=60_000.0)
        assert is_healthy
        await session.execute(text("SELECT 1"))
        assert not await health_check.is_healthy(max_pool_utilization=0.1, max_avg_query_time=60_000.0)
    await database.close()


def test_003_line_609_a_pool_is_told_from_80_percent_on() -> None:
    assert POOL_ALERT_PERCENT == 80
    assert re.fullmatch(
        r"max by .*gatehouse_pool_utilization_percent\) >= 80", rule("DatabasePoolNearlyFull")
    )


def test_003_line_610_a_mean_above_200_ms_is_told() -> None:
    assert MEAN_ALERT_MS == 200
    assert rule("DatabaseStatementsSlow").endswith("> 0.2")
    assert "gatehouse_db_statement_seconds_sum" in rule("DatabaseStatementsSlow")


async def test_003_line_611_deadlocks_are_audited_daily(settings: Settings, clean_store: None) -> None:
    assert rule("DatabaseDeadlocks") == "max by (database) (increase(gatehouse_database_deadlocks[1d])) > 0"
    feature = Feature(name="db_monitor", provides=provide_monitor, periodic=periodic)
    async with serving(settings, feature) as service:
        tasks = {task.name: task for task in periodic(service.platform)}
    # Asked every hour whether a day has passed: a task with a period of a day would start anew with each deployment.
    assert (tasks["monitor.deadlocks"].every_s, tasks["monitor.deadlocks"].leader) == (3600, True)
