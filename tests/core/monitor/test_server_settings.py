from dataclasses import replace

from app.core.db import Database
from app.core.monitor import MonitorServer, server_settings
from app.core.monitor._settings_rules import RULES, Facts
from tests.cases import each_case

GB = 1024**3
SOUND = Facts(
    values={
        **dict.fromkeys(RULES, "on"), "random_page_cost": "1.1", "jit": "off", "statement_timeout": "30000",
        "idle_in_transaction_session_timeout": "60000", "pg_stat_statements.max": "5000", "wal_level": "replica",
        "track_activity_query_size": "4096",
    },
    memory={"shared_buffers": GB, "effective_cache_size": 3 * GB, "maintenance_work_mem": GB, "max_wal_size": GB},
    data_bytes=2 * GB, table_bytes=GB, temp_bytes_a_day=0.0, has_statements=True, timed=100, requested=1, wal_bytes=GB,
)  # fmt: skip
MEMORY = SOUND.memory


async def test_a_server_is_judged_as_it_is(server: MonitorServer) -> None:
    found = await server.put(server_settings)
    by_name = {setting.name: setting for setting in found.settings}
    assert [setting.name for setting in found.settings] == sorted(by_name)
    assert by_name["fsync"].verdict == "change"
    assert by_name["shared_buffers"].value.endswith(("MB", "GB"))
    assert by_name["autovacuum"].verdict == "ok"
    findings = {finding.subject: finding for finding in found.findings}
    assert findings["fsync"].severity == "critical"
    assert findings["random_page_cost"].severity == "info"
    assert findings["pg_stat_statements"].ddl == ("CREATE EXTENSION pg_stat_statements;",)
    assert "is loaded and not created" in findings["pg_stat_statements"].title
    assert (found.wal_bytes or 0) > 0
    assert found.version >= 150_000


async def test_a_planner_without_one_of_its_methods_is_found(
    server: MonitorServer, database: Database
) -> None:
    name = (await server.facts()).database
    async with database.connect() as connection:
        await connection.exec_driver_sql(f"ALTER DATABASE {name} SET enable_indexscan = off")
        fresh = MonitorServer(database)
        try:
            found = await fresh.put(server_settings)
        finally:
            await fresh.close()
            await connection.exec_driver_sql(f"ALTER DATABASE {name} RESET enable_indexscan")
    assert next(each.ddl for each in found.findings if each.subject == "enable_indexscan") == (
        "ALTER SYSTEM RESET enable_indexscan;",
    )


def test_nothing_is_said_of_a_sound_server() -> None:
    assert {name: advice for name, rule in RULES.items() if (advice := rule(SOUND)) is not None} == {}


@each_case(
    ("name", "facts", "severity"),
    [
        *((name, replace(SOUND, values={**SOUND.values, name: "off"}), severity) for name, severity in (
            ("autovacuum", "critical"), ("fsync", "critical"), ("full_page_writes", "critical"), ("track_counts", "critical"),
            ("track_activities", "warning"), ("track_io_timing", "info"), ("synchronous_commit", "warning"),
            ("compute_query_id", "warning"),
        )),
        ("jit", replace(SOUND, values={**SOUND.values, "jit": "on"}), None),
        ("wal_level", replace(SOUND, values={**SOUND.values, "wal_level": "minimal"}), "warning"),
        ("random_page_cost", replace(SOUND, values={**SOUND.values, "random_page_cost": "4"}), "info"),
        ("statement_timeout", replace(SOUND, values={**SOUND.values, "statement_timeout": "0"}), None),
        ("pg_stat_statements.max", replace(SOUND, values={**SOUND.values, "pg_stat_statements.max": "1000"}), "info"),
        ("shared_buffers", replace(SOUND, memory={**MEMORY, "shared_buffers": GB // 8}), "warning"),
        ("effective_cache_size", replace(SOUND, memory={**MEMORY, "effective_cache_size": GB // 2}), "warning"),
        ("maintenance_work_mem", replace(SOUND, memory={**MEMORY, "maintenance_work_mem": GB // 16}, table_bytes=10 * GB), "info"),
        ("work_mem", replace(SOUND, temp_bytes_a_day=2.0 * GB), "info"),
        ("max_wal_size", replace(SOUND, requested=101), "warning"),
        ("max_wal_size", replace(SOUND, wal_bytes=4 * GB), "warning"),
    ],
)  # fmt: skip
def test_each_rule_speaks_at_its_limit(name: str, facts: Facts, severity: str | None) -> None:
    advice = RULES[name](facts)
    assert advice is not None
    assert (advice.severity, advice.verdict in {"look", "change"}, bool(advice.reason)) == (
        severity,
        True,
        True,
    )
