"""The files that settings are read from."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic_settings import PydanticBaseSettingsSource

from app.core.errors import ConfigurationError
from app.core.security import exposed_files


def said_in(path: Path) -> dict[str, str]:
    """What a file says; nothing when it is absent. Raises ConfigurationError for one that is no text."""
    try:
        # Asked here, because a folder in place of the file (a mount that found none) passes for an absent one.
        said = {} if not path.exists() else dotenv_values(stream=io.StringIO(path.read_text("utf-8-sig")))
    except (OSError, ValueError) as error:  # Without the error itself: it holds the whole file.
        raise ConfigurationError(
            f"{path} cannot be read as a file of settings: {type(error).__name__}"
        ) from None
    if any("\0" in f"{name}{value}" for name, value in said.items()):
        raise ConfigurationError(f"{path} cannot be read as a file of settings: it has a NUL character")
    return {name: value for name, value in said.items() if value is not None}


def refuse_exposed(dotenv: PydanticBaseSettingsSource, *sources: PydanticBaseSettingsSource) -> None:
    """``require_private`` for the file that ``Settings`` reads by itself."""
    file = getattr(dotenv, "env_file", None)
    if file is None:
        return
    said: dict[str, Any] = {}
    for source in (dotenv, *reversed(sources)):
        values = getattr(source, "env_vars", None) or getattr(source, "init_kwargs", {})
        said |= {name.upper(): value for name, value in values.items()}
    require_private([Path(each) for each in ([file] if isinstance(file, str | Path) else file)], said)


def require_private(files: Iterable[Path], said: Mapping[str, Any]) -> None:
    """Raises ConfigurationError in production for files that others may read or write."""
    # Names are read without regard to case, as the settings themselves are.
    where = {str(value) for name, value in said.items() if name.upper() == "APP_ENV"}
    if "production" not in where:
        return
    if exposed := exposed_files(files):
        names = ", ".join(map(str, exposed))
        raise ConfigurationError(
            f"APP_ENV=production refuses to start: every account of this machine may read or write {names}; chmod 600 it"
        )
