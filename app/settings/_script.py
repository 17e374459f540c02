"""The configuration of a script."""

import os
from pathlib import Path

from app.core import db
from app.core.errors import ConfigurationError
from app.core.security import configure_encryption
from app.settings._files import require_private, said_in
from app.settings._settings import Settings


def load_environment_files(*files: str | Path) -> Settings:
    """The door of scripts: read ``.env``, or these files (later ones win), check the configuration, and make it this process's default.

    What the files say goes into the environment, where it does not stand already. From then on ``get_db_url()``, ``SessionManager()``,
    ``get_db_context()`` and ``DataEncryptor()`` work without arguments, and seeds know whether this is production; a database that is
    configured already stays. Absent files are passed over. Raises ConfigurationError for one that is no text in UTF-8, and in production
    for one that any account of this machine may read or write, before anything of it is used, and ``pydantic.ValidationError`` for a
    configuration that cannot be. Not for the service itself, which does all this.
    """
    paths = [Path(file) for file in files or (".env",)]
    found: dict[str, str] = {}
    for path in paths:
        found |= said_in(path)
    require_private(paths, {**found, **os.environ})
    for name, value in found.items():
        os.environ.setdefault(name, value)
    settings = Settings(_env_file=None)
    configure_encryption(settings.sealing_keys)
    db.configure_seeds(allowed=not settings.is_production)
    if settings.postgres_url is not None:
        _configure_database(settings, settings.postgres_url)
    return settings


def _configure_database(settings: Settings, url: str) -> None:
    try:
        db.default_database()
    except ConfigurationError:
        db.configure(db.Database(url, replica=settings.replica(), **settings.database_options))
