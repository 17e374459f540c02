"""Wraparound, autovacuum and sequences, on tables of one schema."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.core.db import Database
from app.core.monitor import (
    Autovacuum,
    DatabaseAge,
    MonitorServer,
    Sequences,
    autovacuum,
    sequences,
    wraparound,
)

_TABLES = """
CREATE SCHEMA upkeep;
CREATE TABLE upkeep."Odd.dead" (id int) WITH (autovacuum_enabled = off, autovacuum_vacuum_threshold = 100,
  autovacuum_vacuum_scale_factor = 0.1);
INSERT INTO upkeep."Odd.dead" SELECT generate_series(1, 3000);
ANALYZE upkeep."Odd.dead";
DELETE FROM upkeep."Odd.dead" WHERE id <= 1500;
CREATE TABLE upkeep.patient (id int) WITH (autovacuum_enabled = off, autovacuum_vacuum_threshold = 100000);
INSERT INTO upkeep.patient SELECT generate_series(1, 3000);
ANALYZE upkeep.patient;
DELETE FROM upkeep.patient WHERE id <= 1500;
CREATE TABLE upkeep.unseen (id int) WITH (autovacuum_enabled = off);
INSERT INTO upkeep.unseen SELECT generate_series(1, 2000);
CREATE TABLE upkeep.tiny (id int) WITH (autovacuum_enabled = off);
INSERT INTO upkeep.tiny VALUES (1);
CREATE TABLE upkeep.parent (id int) PARTITION BY RANGE (id);
CREATE TABLE upkeep.part PARTITION OF upkeep.parent FOR VALUES FROM (0) TO (10);
INSERT INTO upkeep.parent VALUES (1);
ANALYZE upkeep.part;
CREATE TABLE upkeep.narrow (id int PRIMARY KEY);
CREATE SEQUENCE upkeep.wide_over_narrow;
ALTER TABLE upkeep.narrow ALTER id SET DEFAULT nextval('upkeep.wide_over_narrow');
SELECT setval('upkeep.wide_over_narrow', 2100000000);
CREATE TABLE upkeep.short (id smallint GENERATED ALWAYS AS IDENTITY, big bigint);
SELECT setval(pg_get_serial_sequence('upkeep.short', 'id'), 29000);
CREATE TABLE upkeep.referred (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE upkeep.referring (referred_id int REFERENCES upkeep.referred);
SELECT setval(pg_get_serial_sequence('upkeep.referred', 'id'), 2000000000);
CREATE SEQUENCE upkeep.capped AS int OWNED BY upkeep.short.big;
SELECT setval('upkeep.capped', 2147483647);
CREATE SEQUENCE upkeep.round MAXVALUE 10 CYCLE;
SELECT setval('upkeep.round', 10);
CREATE SEQUENCE upkeep.down INCREMENT -1 MINVALUE -100;
SELECT setval('upkeep.down', -95);
CREATE SEQUENCE upkeep.unused;
SELECT pg_stat_force_next_flush();
"""


@pytest.fixture(scope="module", autouse=True)
async def upkeep(database: Database) -> AsyncIterator[None]:
    async with database.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute(_TABLES)
        await driver.execute("SELECT 1")
        yield
        await driver.execute("DROP SCHEMA upkeep CASCADE")


def checks(found: Autovacuum | Sequences) -> dict[str, dict[str, str]]:
    """Severities of our tables, by subject and check."""
    ours: dict[str, dict[str, str]] = {}
    for each in found.findings:
        if each.subject.startswith("upkeep."):
            ours.setdefault(each.subject, {})[each.check] = each.severity
    return ours


class TestAutovacuum:
    async def test_tables_are_judged_by_their_own_thresholds(self, server: MonitorServer) -> None:
        found = await server.put(autovacuum)
        by_name = {table.table: table for table in found.tables}
        dead = by_name["upkeep.Odd.dead"]
        assert (dead.dead_rows, dead.vacuum_threshold, dead.is_enabled) == (1500, 400.0, False)
        assert by_name["upkeep.patient"].vacuum_threshold > 100_000
        assert checks(found) == {
            "upkeep.Odd.dead": {"autovacuum.table_off": "warning", "autovacuum.statistics": "warning"},
            "upkeep.patient": {"autovacuum.table_off": "info", "autovacuum.statistics": "warning"},
            "upkeep.unseen": {"autovacuum.table_off": "info", "autovacuum.statistics": "warning"},
            "upkeep.parent": {"autovacuum.parent_statistics": "info"},
        }
        ddl = {each.subject: each.ddl for each in found.findings if each.check == "autovacuum.table_off"}
        assert ddl["upkeep.Odd.dead"] == (
            'VACUUM (ANALYZE) "upkeep"."Odd.dead";',
            'ALTER TABLE "upkeep"."Odd.dead" RESET (autovacuum_enabled);',
        )
        assert found.is_on
        assert found.workers >= 1

    async def test_it_answers_while_a_migration_holds_the_tables(
        self, server: MonitorServer, database: Database
    ) -> None:
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql(
                "LOCK TABLE upkeep.patient, upkeep.short IN ACCESS EXCLUSIVE MODE"
            )
            await connection.exec_driver_sql("ALTER SEQUENCE upkeep.unused CACHE 2")
            assert "upkeep.patient" in {table.table for table in (await server.put(autovacuum)).tables}
            assert (await server.put(wraparound)).tables
            found = await server.put(sequences)
            await connection.rollback()
        assert found.locked == 1
        assert "upkeep.wide_over_narrow" in checks(found)


class TestSequences:
    async def test_the_narrowest_of_sequence_column_and_foreign_key_is_the_end(
        self, server: MonitorServer
    ) -> None:
        found = await server.put(sequences)
        by_name = {each.name: each for each in found.sequences}
        wide = by_name["upkeep.wide_over_narrow"]
        assert (wide.type, wide.column, wide.column_type) == ("bigint", "upkeep.narrow.id", "integer")
        assert (wide.limit, wide.is_narrowed, wide.used_percent) == (2**31 - 1, True, 97.79)
        referred = by_name["upkeep.referred_id_seq"]
        assert (referred.column, referred.limit) == ("upkeep.referring.referred_id", 2**31 - 1)
        assert by_name["upkeep.short_id_seq"].limit == 32767
        assert by_name["upkeep.down"].used_percent == 94.95
        assert (by_name["upkeep.unused"].last_value, by_name["upkeep.unused"].used_percent) == (None, 0.0)
        assert found.locked == 0
        assert {subject: next(iter(each.values())) for subject, each in checks(found).items()} == {
            "upkeep.wide_over_narrow": "critical",
            "upkeep.referred_id_seq": "warning",
            "upkeep.short_id_seq": "warning",
            "upkeep.capped": "critical",
            "upkeep.down": "warning",
        }
        ddl = {each.subject: each.ddl for each in found.findings}
        assert ddl["upkeep.capped"] == ('ALTER SEQUENCE "upkeep"."capped" AS bigint;',)
        assert ddl["upkeep.wide_over_narrow"] == ()

    async def test_what_the_role_may_not_read_is_told_and_not_taken_for_unused(
        self, server: MonitorServer
    ) -> None:
        async with server.ask() as asked:
            await asked.execute("SET LOCAL ROLE pg_monitor")
            found = await sequences(asked)
        assert found.denied == found.total > 0
        assert [each.check for each in found.findings] == ["sequences.denied"]
        assert {each.last_value for each in found.sequences} == {None}


class TestWraparound:
    async def test_ages_and_holders_are_told_and_found_at_their_limits(
        self, server: MonitorServer, database: Database
    ) -> None:
        async with database.engine.begin() as connection:
            pid = await connection.scalar(text("SELECT pg_backend_pid() FROM pg_current_xact_id()"))
            async with server.ask() as asked:
                found = await wraparound(
                    asked, warn_percent=0.0, critical_percent=99.0, holder_transactions=0, late_percent=0.0
                )
            await connection.rollback()
        assert found.databases[0].transaction_age >= found.databases[-1].transaction_age >= 0
        assert any(holder.subject.startswith(f"pid {pid}") for holder in found.holders)
        assert {each.check for each in found.findings} == {
            "wraparound.database", "wraparound.table", "wraparound.holder",
        }  # fmt: skip
        assert {each.severity for each in found.findings} == {"warning"}

        async with server.ask() as asked:
            late = await wraparound(asked, warn_percent=0.0, critical_percent=0.0)
            assert {each.severity for each in late.findings} == {"critical"}
            assert (await wraparound(asked)).findings == ()

    async def test_a_temporary_table_is_not_for_us_to_vacuum(
        self, server: MonitorServer, database: Database
    ) -> None:
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("CREATE TEMPORARY TABLE kept_by_its_session (id int)")
            await connection.exec_driver_sql("COMMIT")
            async with server.ask() as asked:
                found = await wraparound(asked, late_percent=0.0, limit=100_000)
            await connection.exec_driver_sql("DROP TABLE kept_by_its_session")
        theirs = [each for each in found.findings if each.subject.endswith(".kept_by_its_session")]
        assert [(each.ddl, each.fix) for each in theirs] == [
            ((), "It is temporary: end the session that keeps it")
        ]
        assert 'VACUUM (FREEZE) "upkeep"."Odd.dead";' in {ddl for each in found.findings for ddl in each.ddl}

    def test_shares_are_of_the_older_of_both_numbers(self) -> None:
        age = DatabaseAge(100_000_000, 800_000_000, 200_000_000, 400_000_000, "some")
        assert (age.limit_percent, age.stop_percent) == (200.0, 37.3)
