"""What is told about migrations, on copies of the project's own."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from alembic import command
from app.core.db import Database, Migration, MigrationDryRun, MigrationUtils, run_command, upgrade
from app.core.db._migration_files import conflicts_of
from app.core.db._migrations import MIGRATIONS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project's migrations, to be broken."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "alembic"))


@pytest.fixture
async def empty(empty_postgres_url: str) -> AsyncIterator[Database]:
    database = Database(empty_postgres_url)
    yield database
    await database.close()


def add(folder: Path, revision: str, down: str | None, *, body: str = "print()", message: str = "x") -> None:
    source = (
        f'"""{message}"""\nrevision = {revision!r}\ndown_revision = {down!r}\ndef downgrade():\n    {body}\n'
    )
    (folder / "versions" / f"{revision}.py").write_text(source)


def written(path: str) -> str:
    return Path(path).read_text()


class TestFiles:
    def test_the_projects_own_are_fine(self) -> None:
        assert MigrationUtils().validate_migrations() == (True, [])
        first = MigrationUtils().list_migrations()[0]
        assert (first.revision, first.down) == ("0001_accounts", ())
        assert first.message

    def test_orphans_and_second_heads_are_found(self, folder: Path) -> None:
        add(folder, "9000_lonely", "8999_gone")
        add(folder, "9001_after_it", "9000_lonely")
        add(folder, "9001_rival", "0001_accounts")
        conflicts = MigrationUtils(folder=folder).find_conflicts()
        assert conflicts[0] == "9000_lonely: is orphaned, there is no 8999_gone that it comes after"
        assert "9001_rival" in conflicts[1]
        assert conflicts[1].startswith("several heads: ")
        assert len(conflicts) == 2

    def test_a_circle_and_a_second_beginning_are_found(self, folder: Path) -> None:
        add(folder, "9000_a", "9001_b")
        add(folder, "9001_b", "9000_a")
        add(folder, "9002_begin", None)
        conflicts = " ".join(MigrationUtils(folder=folder).find_conflicts())
        assert "not reached from a beginning: 9000_a, 9001_b" in conflicts
        assert "several beginnings: 0001_accounts, 9002_begin" in conflicts

    def test_flaws_of_single_files_are_named(self, folder: Path) -> None:
        last = MigrationUtils().list_migrations()[-1].revision
        add(folder, "9000_flat", last, body="pass", message="")
        (folder / "versions" / "9000_flat.py").rename(folder / "versions" / "other.py")
        (folder / "versions" / "broken.py").write_text("def (")
        ok, issues = MigrationUtils(folder=folder).validate_migrations()
        assert not ok
        assert issues[0].startswith("broken.py: is no migration: ")
        assert issues[1:] == [
            "other.py: should be named 9000_flat.py",
            "other.py: has no docstring that says what it does",
            "other.py: has no downgrade",
        ]

    @given(st.lists(st.integers(0, 30), min_size=1, max_size=30))
    def test_a_line_has_no_conflict_and_any_fork_of_it_has_one(self, forks: list[int]) -> None:
        line = [
            Migration(f"{n:04d}", (f"{n - 1:04d}",) if n else (), "x", Path(), goes_down=True)
            for n in range(len(forks) + 1)
        ]
        assert conflicts_of(line) == []
        fork = Migration("fork", (f"{forks[0] % len(forks):04d}",), "x", Path(), goes_down=True)
        assert len(conflicts_of([*line, fork])) == 1


class TestDatabase:
    async def test_status_names_what_is_there_and_what_is_missing(self, empty: Database) -> None:
        utils = MigrationUtils(empty)
        assert (await utils.show_migration_status())[1].startswith("applied: none\npending: 0001_accounts\n")
        await upgrade(empty.url)
        last = utils.list_migrations()[-1].revision
        assert await utils.show_migration_status() == (True, f"applied: {last}\npending: none")

    async def test_history_tells_every_way_up_and_down(self, empty: Database) -> None:
        utils = MigrationUtils(empty)
        assert await utils.get_migration_history() == (True, "")
        await upgrade(empty.url, "0002_records")
        await run_command(empty.url, lambda config: command.downgrade(config, "0001_accounts"))
        entries = await utils.history()
        assert [(entry.revision, entry.direction) for entry in entries] == [
            ("0001_accounts", "up"),
            ("0002_records", "up"),
            ("0002_records", "down"),
        ]
        assert entries[0].at <= entries[1].at < entries[2].at
        ok, told = await utils.get_migration_history()
        assert ok
        assert told.splitlines()[2].endswith(" down 0002_records")

    async def test_what_cannot_be_asked_is_not_ok(self) -> None:
        nowhere = Database("postgresql://u:p@127.0.0.1:1/none")
        utils = MigrationUtils(nowhere)
        for ok, reason in (
            await utils.show_migration_status(),
            await utils.get_migration_history(),
            await utils.generate_migration("x"),
            await MigrationDryRun.dry_run_upgrade(database=nowhere),
        ):
            assert not ok
            assert reason
        await nowhere.close()


class TestDryRun:
    async def test_prints_only_what_is_missing_and_does_nothing(self, empty: Database) -> None:
        await upgrade(empty.url, "0001_accounts")
        ok, sql = await MigrationDryRun.dry_run_upgrade("0002_records", database=empty)
        assert ok
        assert "CREATE TABLE records" in sql
        assert "CREATE TABLE users" not in sql
        async with empty.connect() as connection:
            assert await connection.scalar(text("SELECT to_regclass('records')")) is None

    async def test_what_it_prints_does_what_an_upgrade_does(self, empty: Database) -> None:
        _, sql = await MigrationDryRun.dry_run_upgrade("0003_idempotency", database=empty)
        async with empty.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            await raw.execute(sql)
        assert (await MigrationUtils(empty).status()).applied == ("0003_idempotency",)

    async def test_nothing_to_do_is_empty_and_an_unknown_revision_is_not_ok(self, empty: Database) -> None:
        await upgrade(empty.url)
        assert await MigrationDryRun.dry_run_upgrade("head", database=empty) == (True, "")
        ok, reason = await MigrationDryRun.dry_run_upgrade("nowhere", database=empty)
        assert not ok
        assert "nowhere" in reason


class TestGenerate:
    async def test_writes_what_the_models_have_and_the_database_lacks(
        self, empty: Database, folder: Path
    ) -> None:
        await upgrade(empty.url)
        async with empty.connect() as connection:
            await connection.execute(text("DROP INDEX ix_records_tags"))
        utils = MigrationUtils(empty, folder=folder)
        count = len(utils.list_migrations())
        ok, path = await utils.generate_migration("Find records by tag, again!")
        assert ok, path
        assert Path(path).name == f"{count + 1:04d}_find_records_by_tag_again.py"
        assert "'ix_records_tags'" in written(path)
        assert utils.validate_migrations() == (True, [])

    async def test_a_database_that_is_behind_or_a_message_without_words_is_not_ok(
        self, empty: Database, folder: Path
    ) -> None:
        utils = MigrationUtils(empty, folder=folder)
        assert await utils.generate_migration("!") == (
            False,
            "a migration needs a message of letters or digits",
        )
        ok, reason = await utils.generate_migration("Too early")
        assert not ok
        assert "not up to date" in reason
