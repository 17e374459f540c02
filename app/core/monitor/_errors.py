"""Why a question to the watched server was not answered, without a word of the server's own.

    MonitorError                 503  base: one panel has no answer; the others may
    ├── MonitorBusy              503  both of the monitor's connections are in use
    ├── MonitorTimeout           503  the question took longer than it may
    ├── MonitorLocked            503  a lock is in the way, a migration's most often
    └── MonitorUnreachable       503  there is no server, or it broke the connection
    MonitorDenied                403  the monitor's role may not read what the question needs
    NotSupported                 404  this server does not have what the question asks for (version, extension)

Server messages quote rows and statements (CVE-2023-22626 of PgHero was just that), so they stay in ``__cause__``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from app.core.db import (
    DRIVER_ERRORS,
    DatabaseError,
    DatabaseTimeout,
    DatabaseUnavailable,
    PoolExhausted,
    sqlstate_of,
    translate,
)
from app.core.errors import GatehouseError, NotFound, PermissionDenied, Unavailable


class MonitorError(Unavailable):
    """The watched server did not answer this question; ``detail`` says why in our words."""


class MonitorBusy(MonitorError):
    """Both connections of the monitor are in use."""

    def __init__(self) -> None:
        super().__init__("The monitor is busy with other questions")


class MonitorTimeout(MonitorError):
    """The question took longer than it may."""

    def __init__(self) -> None:
        super().__init__("The server did not answer in the time that this question may take")


class MonitorLocked(MonitorError):
    """Something that the question needs is locked, most often by a migration."""

    def __init__(self) -> None:
        super().__init__("Not available while a table is locked")


class MonitorUnreachable(MonitorError):
    """There is no connection to the watched server."""

    def __init__(self) -> None:
        super().__init__("The server cannot be reached")


class MonitorDenied(PermissionDenied):
    """The monitor's role lacks a grant; ``pg_monitor`` and SELECT on the tables are what it needs."""

    def __init__(self) -> None:
        super().__init__(
            "The monitor's role may not read this; grant it pg_monitor, and SELECT on the tables"
        )


class NotSupported(NotFound):
    """The watched server lacks what the question asks for; ``detail`` names it."""


_BY_CODE: dict[str, Callable[[], GatehouseError]] = {
    "55P03": MonitorLocked,
    "57014": MonitorTimeout,
    "42501": MonitorDenied,
}


@contextmanager
def monitor_errors() -> Iterator[None]:
    """Turn what the driver and the pool raise into the errors above; other errors pass."""
    try:
        yield
    except TimeoutError as error:
        raise MonitorTimeout from error
    except (SQLAlchemyError, *DRIVER_ERRORS, OSError) as error:
        raise _meant(error) from error
    except DatabaseError as error:
        raise _of(error) from error


def _meant(error: Exception) -> GatehouseError:
    meaning = _BY_CODE.get(sqlstate_of(error) or "")
    return meaning() if meaning is not None else _of(translate(error))


def _of(error: GatehouseError) -> GatehouseError:
    if (meaning := _BY_CODE.get(getattr(error, "sqlstate", None) or "")) is not None:
        return meaning()
    if isinstance(error, PoolExhausted):
        return MonitorBusy()
    if isinstance(error, DatabaseTimeout):
        return MonitorTimeout()
    return MonitorUnreachable() if isinstance(error, DatabaseUnavailable) else error
