"""Who can configure this process, when nobody has done so yet."""

from collections.abc import Callable

from app.core.db._default import default_database, is_configured


class _Loader:
    load: Callable[[], object] | None = None


def configure_environment(load: Callable[[], object] | None) -> None:
    """``load`` is called by ``with_secure_environment`` while no database is configured. ``app.settings`` says it; None forgets it."""
    _Loader.load = load


def require_environment() -> None:
    """Load the configuration if there is none. Raises ``ConfigurationError`` when there still is none afterwards."""
    if not is_configured() and _Loader.load is not None:
        _Loader.load()
    default_database()
