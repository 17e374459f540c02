import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.config import Config
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from alembic import command
from app.core.db import (
    Base,
    Database,
    DatabaseFault,
    DatabaseUnavailable,
    MigrationDryRun,
    current_heads,
    is_at_head,
    migration_connection,
    pending,
    run_command,
    upgrade,
)
from app.core.db._migrations import _LOCK, _script
from app.core.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[3]


async def tables(database: Database) -> set[str]:
    async with database.connect() as connection:
        rows = await connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        return set(rows)


async def test_up_from_empty_without_drift_and_down_again(empty_postgres_url: str) -> None:
    database = Database(empty_postgres_url)
    everything = [revision.revision for revision in _script().walk_revisions()][::-1]
    assert await current_heads(database) == frozenset()
    assert await pending(database) == everything
    assert not await is_at_head(database)

    await upgrade(empty_postgres_url, everything[0])
    assert await pending(database) == everything[1:]
    assert not await is_at_head(database)

    await upgrade(empty_postgres_url)
    assert await pending(database) == []
    assert await is_at_head(database)
    assert {"users", "records"} <= await tables(database)
    await run_command(empty_postgres_url, command.check)  # raises when models and migrations differ

    await run_command(empty_postgres_url, lambda config: command.downgrade(config, "base"))
    assert await tables(database) == {"alembic_version", "schema_history"}
    await database.close()


_WHAT_ALEMBIC_DOES_NOT_COMPARE = text("""
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype = 'c' AND conrelid::regclass::text = ANY (:tables)
UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE tablename = ANY (:tables)
UNION ALL SELECT adrelid::regclass::text, attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef
    JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE attgenerated <> '' AND adrelid::regclass::text = ANY (:tables)
""")


async def test_checks_indexes_and_computed_columns_are_those_of_the_models(
    database: Database, empty_postgres_url: str
) -> None:
    migrated = await tables(database)
    ours = [table for table in Base.metadata.sorted_tables if table.schema is None and table.name in migrated]
    by_models = Database(empty_postgres_url)
    async with by_models.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all, tables=ours)
    found = []
    for each in (database, by_models):
        async with each.connect() as connection:
            rows = await connection.execute(
                _WHAT_ALEMBIC_DOES_NOT_COMPARE, {"tables": [table.name for table in ours]}
            )
            found.append({tuple(row) for row in rows})
    await by_models.close()
    assert found[0] == found[1]


async def test_two_starters_at_once_migrate_once(empty_postgres_url: str) -> None:
    await asyncio.gather(*(upgrade(empty_postgres_url) for _ in range(3)))
    database = Database(empty_postgres_url)
    assert await is_at_head(database)
    await database.close()


async def test_a_starter_waits_for_the_one_that_holds_the_lock(
    empty_postgres_url: str, questions: list[str]
) -> None:
    database = Database(empty_postgres_url)
    async with database.session() as other:
        await other.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        starter = asyncio.create_task(upgrade(empty_postgres_url))
        async with asyncio.timeout(10):
            while len(questions) < 2:  # noqa: ASYNC110 - he was refused once, and tells nobody
                await asyncio.sleep(0)
        assert await tables(database) == set()
    await starter
    assert await is_at_head(database)
    await database.close()


@pytest.fixture
def questions() -> Iterator[list[str]]:
    """Each time that a starter asks for the lock."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        if "pg_try_advisory_xact_lock" in sql:
            asked.append(sql)

    event.listen(Engine, "before_cursor_execute", note)
    yield asked
    event.remove(Engine, "before_cursor_execute", note)


def shown(connection: Connection) -> set[str]:
    names = set(inspect(connection).get_table_names())
    connection.rollback()  # In a transaction of ours alembic would leave the commit to us.
    return names


async def test_every_migration_goes_up_down_and_up_again(empty_postgres_url: str) -> None:
    def walk(config: Config) -> None:
        connection: Connection = config.attributes["connection"]
        for revision in [step.revision for step in _script().walk_revisions()][::-1]:
            before = shown(connection)
            command.upgrade(config, revision)
            there = shown(connection)
            command.downgrade(config, "-1")
            assert shown(connection) - {"alembic_version", "schema_history"} <= before
            command.upgrade(config, revision)
            assert shown(connection) == there
        command.check(config)

    await run_command(empty_postgres_url, walk)


async def test_an_index_is_made_while_a_writer_is_busy_and_another_starter_waits(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one who waits asks without pause: whenever the index is begun, he is in the middle of a question.
    monkeypatch.setattr("app.core.db._migrations._ASK_AGAIN_S", 0)
    await upgrade(empty_postgres_url, "0006_events_log")
    database = Database(empty_postgres_url)
    async with database.session() as writer:
        await writer.execute(text("LOCK TABLE records IN ROW EXCLUSIVE MODE"))
        starters = asyncio.gather(*(upgrade(empty_postgres_url, "0007_records_by_change") for _ in range(2)))
        async with asyncio.timeout(10):
            while not await _building(database):  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.01)
        # It waits for us; a plain CREATE INDEX would by now keep other writers out.
        async with database.session() as other:
            await other.execute(text("SET LOCAL lock_timeout = '1s'"))
            await other.execute(text("LOCK TABLE records IN ROW EXCLUSIVE MODE"))
            await other.commit()
        await writer.commit()
    async with asyncio.timeout(8):  # under the lock timeout, with which a mutual wait would end
        await starters
    async with database.connect() as connection:
        valid = text(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_records_owner_id_updated_at'::regclass"
        )
        assert await connection.scalar(valid)
    await database.close()


async def _building(database: Database) -> bool:
    async with database.connect() as connection:
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'"
        )
        return bool(await connection.scalar(query))


async def test_a_migration_that_gets_no_lock_gives_up(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upgrade(empty_postgres_url, "0002_records")
    monkeypatch.setattr("app.core.db._migrations._WAIT_FOR_TABLE_S", 0.2)
    database = Database(empty_postgres_url)
    async with database.session() as reader:
        await reader.execute(text("SELECT FROM records"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            await run_command(empty_postgres_url, lambda config: command.downgrade(config, "0001_accounts"))
    assert "records" in await tables(database)
    await database.close()


async def test_a_schema_of_a_newer_release_is_not_behind(empty_postgres_url: str) -> None:
    await upgrade(empty_postgres_url)
    database = Database(empty_postgres_url)
    async with database.connect() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999_from_the_future'"))
    assert await pending(database) == []
    assert await is_at_head(database)
    await database.close()


async def test_being_current_is_asked_once(postgres_url: str) -> None:
    database = Database(postgres_url)
    assert await is_at_head(database)
    await database.close()
    assert await is_at_head(database)
    assert database.pool_status().open == 0
    await database.close()


async def test_no_connection_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailable):
        await upgrade("postgresql://u:p@127.0.0.1:1/none")


# The installed command as it is, in one process: each start of one takes longer than all the rest of this file.
OWN_COMMAND = """
import gc, os, runpy, sys

gc.disable()
program, url = sys.argv[1], os.environ.pop("DATABASE_URL")
for line in ("upgrade head --sql", "upgrade head", "check"):
    sys.argv = [program, *line.split()]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    os.environ["DATABASE_URL"] = url
"""


async def test_alembics_own_command_prints_sql_without_a_database_and_migrates_the_configured_one(
    empty_postgres_url: str,
) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        # -P: as from the command line, nothing but alembic.ini leads to the application.
        [sys.executable, "-P", "-c", OWN_COMMAND, str(Path(sys.executable).with_name("alembic"))],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": empty_postgres_url, "APP_ENV": "test"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE records" in done.stdout
    assert done.stdout.endswith("No new upgrade operations detected.\n")
    connection = await asyncpg.connect(empty_postgres_url.replace("+asyncpg", ""))
    assert await connection.fetchval("SELECT count(*) FROM records") == 0
    await connection.close()


def test_alembic_ini_holds_no_url_and_there_is_one_head() -> None:
    assert "sqlalchemy.url" not in (ROOT / "alembic.ini").read_text()
    assert len(_script().get_heads()) == 1


@pytest.mark.parametrize(
    ("limit", "limit_s"),
    [
        ("statement_timeout", 0.02),
        ("idle_in_transaction_session_timeout", 0.02),
        # It holds until the first transaction has lifted it, which may take a while on a busy machine.
        ("transaction_timeout", 0.5),
    ],
)
async def test_limits_of_the_role_end_neither_a_migration_nor_its_lock(
    empty_postgres_url: str, limit: str, limit_s: float
) -> None:
    name = empty_postgres_url.partition("?")[0].rpartition("/")[2]
    admin = await asyncpg.connect(empty_postgres_url.replace("+asyncpg", ""))
    try:
        await admin.execute(f"ALTER DATABASE {name} SET {limit} = '{round(limit_s * 1000)}ms'")
        async with migration_connection(empty_postgres_url) as connection:
            await connection.execute(text("SELECT pg_sleep(:s)"), {"s": 2 * limit_s})
            locks = (
                "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
                "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
            )
            assert await connection.scalar(text(locks)) == 1
    finally:
        await admin.execute(f"ALTER DATABASE {name} RESET {limit}")
        await admin.close()


async def test_versions_that_exclude_each_other_are_said_to(empty_postgres_url: str) -> None:
    first, *_, last = [revision.revision for revision in _script().walk_revisions()][::-1]
    await upgrade(empty_postgres_url, first)
    database = Database(empty_postgres_url)
    async with database.connect() as connection:
        await connection.execute(text("INSERT INTO alembic_version VALUES (:last)"), {"last": last})
    with pytest.raises(ConfigurationError, match=first):
        await pending(database)
    await database.close()


async def test_a_table_of_versions_that_is_none_is_the_databases_fault(empty_postgres_url: str) -> None:
    database = Database(empty_postgres_url)
    async with database.connect() as connection:
        await connection.execute(text("CREATE TABLE alembic_version (x int)"))
    with pytest.raises(DatabaseFault):
        await pending(database)
    await database.close()


@pytest.mark.parametrize("revision", ["", " ", "0001_accounts:head", "head:base", "a\nb", "\udcff"])
async def test_what_cannot_be_a_revision_is_said_to_be_none(empty_postgres_url: str, revision: str) -> None:
    with pytest.raises(ConfigurationError, match="name of a migration"):
        await upgrade(empty_postgres_url, revision)
    database = Database(empty_postgres_url)
    assert await MigrationDryRun.dry_run_upgrade(revision, database=database) == (
        False,
        "A revision is the name of a migration, or head.",
    )
    assert await tables(database) == set()
    await database.close()
