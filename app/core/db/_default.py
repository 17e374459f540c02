"""The database that a door named for the whole process."""

from app.core.db._database import Database
from app.core.errors import ConfigurationError


class _Default:
    """The database that a door named for the whole process."""

    database: Database | None = None


def configure(database: Database | None) -> None:
    """Set the process's default database. Called by doors; ``None`` forgets it."""
    _Default.database = database


def is_configured() -> bool:
    """Whether a door has named this process's database."""
    return _Default.database is not None


def default_database() -> Database:
    """The database that a door configured. Raises ``ConfigurationError`` when none did."""
    if _Default.database is None:
        raise ConfigurationError(
            "No database is configured in this process: a door (create_app, CLI) calls core.db.configure()"
        )
    return _Default.database


def get_db_url() -> str:
    """The configured database's URL for SQLAlchemy, password included. Do not log it."""
    return default_database().url
