"""Document 003: migrations."""

import json
import shutil
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from app.cli import cli
from app.core.db import Database, MigrationDryRun, MigrationUtils, configure, upgrade


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
