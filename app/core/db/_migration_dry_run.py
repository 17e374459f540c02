"""What an upgrade would do, as SQL."""

from io import StringIO
from pathlib import Path

from alembic.util import CommandError

from alembic import command
from app.core.db._database import Database
from app.core.db._default import default_database
from app.core.db._errors import DatabaseError
from app.core.db._migrations import MIGRATIONS, alembic_config, check_revision, current_heads
from app.core.errors import ConfigurationError


class MigrationDryRun:
    """What an upgrade would do, without doing it."""

    @staticmethod
    async def dry_run_upgrade(
        revision: str = "head", *, database: Database | None = None, folder: Path = MIGRATIONS
    ) -> tuple[bool, str]:
        """The SQL from where the database is to ``revision``, or why there is none; empty when there is nothing to do.

        A migration that reads the database to decide what to do cannot be printed. Changes nothing.
        """
        output = StringIO()
        try:
            check_revision(revision)
            heads = await current_heads(database or default_database())
            start = ",".join(sorted(heads)) or "base"
            command.upgrade(alembic_config(folder, output), f"{start}:{revision}", sql=True)
        except (CommandError, ConfigurationError, DatabaseError) as error:
            return False, str(error)
        sql = output.getvalue().strip()
        # Every migration notes its version; without one alembic still prints an empty transaction.
        return True, sql if "alembic_version" in sql else ""
