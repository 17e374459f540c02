"""Migrations for people and scripts: which there are, whether they fit together, what the database has."""

import re
from pathlib import Path
from typing import NamedTuple

from alembic.config import Config
from alembic.util import CommandError

from alembic import command
from app.core.db._database import Database
from app.core.db._default import default_database
from app.core.db._errors import DatabaseError
from app.core.db._migration_files import Migration, conflicts_of, issues_of, read_migrations
from app.core.db._migrations import MIGRATIONS, current_heads, pending, run_command
from app.core.db._schema_history import HistoryEntry, read_history
from app.core.errors import ConfigurationError

_LONGEST_SLUG = 60


class MigrationStatus(NamedTuple):
    """Versions the database says it is at, and migrations that it lacks, oldest first."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]


class MigrationUtils:
    """The migrations of ``folder`` (this project's unless told) and of ``database`` (the process's default unless told).

    What only reads files is plain; what asks the database is awaited. The documents' methods answer ``(ok, ...)``: not ok is what the
    caller can mend, or a database that does not answer. ``status`` and ``history`` are the same as values, and raise a DatabaseError.
    """

    def __init__(self, database: Database | None = None, *, folder: Path = MIGRATIONS) -> None:
        self._database = database
        self._folder = folder

    def list_migrations(self) -> list[Migration]:
        """All that can be read, by file name."""
        return read_migrations(self._folder)[0]

    def find_conflicts(self) -> list[str]:
        """Why there is not one line of migrations: orphaned ones, several heads, circles, revisions twice."""
        return conflicts_of(self.list_migrations())

    def validate_migrations(self) -> tuple[bool, list[str]]:
        """Whether all files are migrations with a name, a docstring and a way down, in one line; and what is wrong."""
        migrations, issues = read_migrations(self._folder)
        issues += conflicts_of(migrations) + issues_of(migrations)
        return not issues, issues

    async def generate_migration(self, message: str) -> tuple[bool, str]:
        """Write a migration that brings the database to the models; its path, or why there is none. The database must have all others.

        Review it: alembic sees neither renamed columns nor data. ``message`` becomes its docstring and, in lower case, its name.
        """
        slug = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:_LONGEST_SLUG]
        if not slug:
            return False, "a migration needs a message of letters or digits"
        revision = f"{len(self.list_migrations()) + 1:04d}_{slug}"
        database = self._database or default_database()

        def write(config: Config) -> None:
            config.set_main_option("file_template", "%%(rev)s")
            command.revision(config, message=message.rstrip("."), autogenerate=True, rev_id=revision)

        try:
            await run_command(database.url, write, folder=self._folder)
        except (CommandError, DatabaseError) as error:
            return False, str(error)
        return True, str(self._folder / "versions" / f"{revision}.py")

    async def status(self) -> MigrationStatus:
        """What the database has and lacks. Raises a DatabaseError."""
        database = self._database or default_database()
        applied = await current_heads(database)
        return MigrationStatus(tuple(sorted(applied)), tuple(await pending(database)))

    async def show_migration_status(self) -> tuple[bool, str]:
        """``status`` as text."""
        try:
            status = await self.status()
        except (ConfigurationError, DatabaseError) as error:
            return False, str(error)
        lines = [f"applied: {', '.join(status.applied) or 'none'}"]
        return True, "\n".join(lines + [f"pending: {name}" for name in status.pending or ("none",)])

    async def history(self) -> list[HistoryEntry]:
        """What was applied and taken back, oldest first. Raises a DatabaseError."""
        return await read_history(self._database or default_database())

    async def get_migration_history(self) -> tuple[bool, str]:
        """``history`` as text, a line each."""
        try:
            entries = await self.history()
        except DatabaseError as error:
            return False, str(error)
        return True, "\n".join(f"{each.at.isoformat()} {each.direction} {each.revision}" for each in entries)
