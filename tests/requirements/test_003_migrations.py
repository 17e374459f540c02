"""Document 003: migrations."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import text
from typer.testing import CliRunner

from alembic import command
from app.cli import cli
from app.core.db import Database, MigrationDryRun, MigrationUtils, configure, run_command, upgrade
from app.main import create_app
from app.settings import Settings
from tests.apps import client_of, running


def test_003_08_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    logging = structlog.get_config()
    outputs = {}
    for act in ("list", "validate", "status", "conflicts", "history"):
        done = CliRunner().invoke(cli, ["migrations", act, "--json"])
        assert done.exit_code == 0, done.output
        outputs[act] = json.loads(done.stdout)
    structlog.configure(**logging)
    assert outputs["validate"] == outputs["conflicts"] == {"ok": True, "issues": []}
    revisions = [each["revision"] for each in outputs["list"]]
    assert outputs["status"] == {"applied": revisions[-1:], "pending": []}
    assert [each["revision"] for each in outputs["history"]] == revisions


async def test_003_09_in_python(empty_postgres_url: str, tmp_path: Path) -> None:
    from app.core.db._migrations import MIGRATIONS

    # The documents' `MigrationUtils()`; the folder only so that this checkout gets no new file.
    folder = Path(shutil.copytree(MIGRATIONS, tmp_path / "alembic"))
    database = Database(empty_postgres_url)
    configure(database)
    utils = MigrationUtils(folder=folder)

    migrations = utils.list_migrations()
    is_valid, issues = utils.validate_migrations()
    assert is_valid, issues

    success, sql = await MigrationDryRun.dry_run_upgrade("head")
    assert success
    assert "CREATE TABLE users" in sql

    await upgrade(empty_postgres_url)
    success, output = await utils.generate_migration("Add created_at to persons")
    assert success, output
    assert len(utils.list_migrations()) == len(migrations) + 1

    success, status = await utils.show_migration_status()
    assert success
    assert f"applied: {migrations[-1].revision}" in status
    success, history = await utils.get_migration_history()
    assert success
    assert len(history.splitlines()) == len(migrations)
    configure(None)
    await database.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project's migrations, to be broken."""
    from app.core.db._migrations import MIGRATIONS

    return Path(shutil.copytree(MIGRATIONS, tmp_path / "alembic"))


def write(folder: Path, revision: str, down: str, *, docstring: str = '"""What it changes."""') -> None:
    source = (
        f"{docstring}\nrevision = {revision!r}\ndown_revision = {down!r}\ndef downgrade():\n    print()\n"
    )
    (folder / "versions" / f"{revision}.py").write_text(source)


def test_003_line_217_errors_of_files_are_found(folder: Path) -> None:
    head = MigrationUtils(folder=folder).list_migrations()[-1].revision
    write(folder, "8000_fine", head)
    assert MigrationUtils(folder=folder).validate_migrations() == (True, [])
    (folder / "versions" / "9000_broken.py").write_text("def upgrade(:\n")
    is_valid, issues = MigrationUtils(folder=folder).validate_migrations()
    assert not is_valid
    assert ["9000_broken" in issue for issue in issues] == [True]


def test_003_line_218_orphaned_branches_are_found(folder: Path) -> None:
    first = MigrationUtils(folder=folder).list_migrations()[0].revision
    write(folder, "9000_orphan", "8999_gone")
    write(folder, "9001_rival", first)
    utils = MigrationUtils(folder=folder)
    is_valid, issues = utils.validate_migrations()
    assert (is_valid, issues) == (False, utils.find_conflicts())
    orphan, heads = issues
    assert "9000_orphan" in orphan
    assert "orphaned" in orphan
    assert "9001_rival" in heads
    assert heads.startswith("several heads: ")


async def test_003_line_220_the_history_is_of_what_was_applied(empty_postgres_url: str) -> None:
    database = Database(empty_postgres_url)
    utils = MigrationUtils(database)
    revisions = [migration.revision for migration in utils.list_migrations()]
    await upgrade(empty_postgres_url, revisions[1])
    assert [entry.revision for entry in await utils.history()] == revisions[:2]
    assert (await utils.status()).pending == tuple(revisions[2:])
    await database.close()


async def test_003_line_595_every_migration_goes_back(empty_postgres_url: str) -> None:
    database = Database(empty_postgres_url)
    await upgrade(empty_postgres_url)
    await run_command(empty_postgres_url, lambda config: command.downgrade(config, "base"))
    assert (await MigrationUtils(database).status()).applied == ()
    async with database.session() as session:
        left = await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        assert set(left) == {"alembic_version", "schema_history"}
    await database.close()


def test_003_line_597_a_migration_that_says_nothing_is_found(folder: Path) -> None:
    head = MigrationUtils(folder=folder).list_migrations()[-1].revision
    write(folder, "9000_silent", head, docstring="")
    is_valid, issues = MigrationUtils(folder=folder).validate_migrations()
    assert not is_valid
    assert ["9000_silent" in issue and "docstring" in issue for issue in issues] == [True]


async def test_003_line_593_nothing_is_served_before_its_migrations(
    make_settings: Callable[..., Settings], empty_postgres_url: str
) -> None:
    settings = make_settings(database_url=empty_postgres_url)

    async def ready() -> tuple[int, Any]:
        async with running(create_app(settings)) as app, client_of(app) as client:
            answer = await client.get("/ready")
            return answer.status_code, answer.json()

    status, problem = await ready()
    assert (status, problem["failing"]) == (503, ["schema"])
    await upgrade(empty_postgres_url)
    assert (await ready())[0] == 200
