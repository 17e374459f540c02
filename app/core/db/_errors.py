"""What can go wrong with the database, in words that an HTTP answer can use; driver errors become these here.

    Unavailable                        503
    └── DatabaseError                  503  base of what is the database's or our fault
        ├── DatabaseUnavailable        503  it does not answer, or the connection broke
        │   └── CommitOutcomeUnknown   503  the connection broke under a COMMIT
        ├── DatabaseTimeout            503  it answered too late
        │   └── PoolExhausted          503  no connection became free in time
        ├── DatabaseReadOnly           503  a replica, or a primary that was demoted
        └── DatabaseFault              500  our statement or schema is wrong
            └── ReadOnlySession        500  a change on a session that only reads; nothing was sent
    Conflict                           409
    ├── ConstraintViolated             409  a unique, foreign key or exclusion constraint refused
    └── SerializationFailure           409  somebody else was quicker; doing it again may work
    Unprocessable                      422
    └── InvalidValue                   422  PostgreSQL cannot store this value

The driver's text never reaches ``detail``: it quotes rows and statements. It stays in ``__cause__``.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from app.core.errors import Conflict, GatehouseError, Unavailable, Unprocessable

UNDEFINED_TABLE = "42P01"
"""SQLSTATE of a statement that names a table which is not there."""

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_CONNECTION_LOST = "8s2b"  # SQLAlchemy: the transaction went on although its connection had broken.
_NOT_SENT = "cannot call Transaction.commit()"  # asyncpg: it knew before sending that it could not.
_IN_USE = "another operation is in progress"  # The same, because another task uses the connection.
_Key = type[GatehouseError]


class DatabaseError(Unavailable):
    """The database did not do what was asked.

    ``sqlstate`` is PostgreSQL's five-character code, if it sent one.
    """

    sqlstate: str | None = None


class DatabaseUnavailable(DatabaseError):
    """The database does not answer, refuses connections or broke this one.

    Nothing of the transaction was kept, unless it is the child below.
    """


class CommitOutcomeUnknown(DatabaseUnavailable):
    """The connection broke, or time ran out, while the server was committing: what was written may be kept or not.

    ``retry_decorator`` and ``Retrier`` never repeat after it. Ask the database what is true, or use an
    idempotency key.
    """

    is_outcome_unknown = True


class DatabaseTimeout(DatabaseError):
    """A statement, a lock or a connection took longer than allowed; nothing of the transaction was kept."""


class PoolExhausted(DatabaseTimeout):
    """All connections of this process were in use for ``pool_timeout_s`` seconds."""


class DatabaseReadOnly(DatabaseError):
    """A write reached a server or a transaction that only reads."""


class DatabaseFault(DatabaseError):
    """A mistake in our statement, schema or grants. Waiting does not help, so there is no ``Retry-After``."""

    status = 500
    title = "Internal Server Error"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail)
        self.headers.clear()


class ReadOnlySession(DatabaseFault):
    """A change on a ``ReadSession``, refused before anything was sent: the code has to ask for a session that writes."""


class ConstraintViolated(Conflict):
    """A constraint refused the row.

    ``constraint`` is its name in the schema, by which a service can tell what is taken.
    """

    sqlstate: str | None = None
    constraint: str | None = None


class SerializationFailure(Conflict):
    """Two transactions got in each other's way and this one lost.

    Nothing of it was kept. Repeating all of it may succeed.
    """

    sqlstate: str | None = None


class InvalidValue(Unprocessable):
    """PostgreSQL cannot store the value.

    A NUL byte, a number out of range, a NULL or a CHECK that the schema refuses.
    """

    sqlstate: str | None = None
    constraint: str | None = None


_DETAILS: dict[_Key, str] = {
    DatabaseUnavailable: "The database cannot be reached",
    CommitOutcomeUnknown: "The database did not confirm the change; it may have been kept",
    DatabaseTimeout: "The database did not answer in time",
    PoolExhausted: "All database connections are in use",
    DatabaseReadOnly: "The database accepts no writes at the moment",
    DatabaseFault: "The database refused the operation",
    ConstraintViolated: "The request conflicts with stored data",
    SerializationFailure: "The data was changed at the same time; try again",
    InvalidValue: "A value cannot be stored",
}

# Exact codes first, then their class (the first two characters).
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_CODE: dict[str, _Key] = {
    "0A000": DatabaseFault,
    "23502": InvalidValue,
    "23514": InvalidValue,
    "25006": DatabaseReadOnly,
    "25P03": DatabaseTimeout,
    "25P04": DatabaseTimeout,
    "40002": ConstraintViolated,
    "40003": DatabaseUnavailable,
    "54011": DatabaseFault,
    "54023": DatabaseFault,
    "55006": DatabaseTimeout,
    "55P03": DatabaseTimeout,
    "57014": DatabaseTimeout,
    "P0001": ConstraintViolated,  # RAISE EXCEPTION in a trigger: a rule of the schema said no.
}
_BY_CLASS: dict[str, _Key] = {
    **dict.fromkeys(("08", "28", "3D", "53", "57", "58", "HV"), DatabaseUnavailable),
    **dict.fromkeys(("23",), ConstraintViolated),
    **dict.fromkeys(("22", "44", "54"), InvalidValue),
    **dict.fromkeys(("40", "72"), SerializationFailure),
    **dict.fromkeys(("03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21"), DatabaseFault),
    **dict.fromkeys(
        ("24", "25", "26", "27", "2B", "2D", "2F", "34", "38", "39", "3B", "3F", "42"), DatabaseFault
    ),
    **dict.fromkeys(("55", "F0", "P0", "XX"), DatabaseFault),
}

# What has no SQLSTATE, or one that says too little. The first match counts: TimeoutError is an OSError.
_BY_TYPE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], _Key], ...] = (
    (PoolTimeout, PoolExhausted),
    (TimeoutError, DatabaseTimeout),
    (StaleDataError, SerializationFailure),
    # A migration changed the table under this connection; the next attempt sees the new one.
    ((asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError), DatabaseUnavailable),
    ((OSError, asyncpg.TargetServerAttributeNotMatched), DatabaseUnavailable),
)


def translate(error: BaseException) -> GatehouseError:
    """The error of ours that says what ``error`` means. An error that is ours already comes back as it is.

    The caller raises it ``from error``.
    """
    if isinstance(error, GatehouseError):
        return error
    driver = _driver_error(error)
    return _told(_kind(error, driver), error, driver)


def translate_commit(error: BaseException) -> GatehouseError | None:
    """``CommitOutcomeUnknown`` if the COMMIT that raised ``error`` may have been done, None if certainly not.

    A SQLSTATE of another class than a lost connection's is the server's word that nothing was kept.
    """
    driver = _driver_error(error)
    if _NOT_SENT in str(driver) or is_in_use(driver):
        return None
    code = sqlstate_of(error)
    if code is not None and code[:2] not in {"08", "57"} and code != "40003":
        return None
    is_cancelled = code == "57014"  # The server's own limit: it says so before it commits.
    return None if is_cancelled else _told(CommitOutcomeUnknown, error, driver)


def is_in_use(error: BaseException) -> bool:
    """Whether the driver sent nothing, because another task was using the connection: a session serves one task at a time."""
    driver = _driver_error(error)
    return isinstance(driver, asyncpg.InterfaceError) and _IN_USE in str(driver)


def _told(kind: _Key, error: BaseException, driver: BaseException) -> GatehouseError:
    translated = kind(_DETAILS[kind])
    translated.__cause__ = error
    for name, source in (("sqlstate", "sqlstate"), ("constraint", "constraint_name")):
        if hasattr(kind, name):
            setattr(translated, name, getattr(driver, source, None))
    return translated


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate what leaves the block.

    For blocks that do nothing but speak to the database: an ``OSError`` in it is taken for an outage.
    """
    try:
        yield
    except (SQLAlchemyError, *DRIVER_ERRORS, OSError) as error:
        raise translate(error) from error


@contextmanager
def translate_sql_errors() -> Iterator[None]:
    """``translate_errors`` for blocks that do other things too: an ``OSError`` in them is theirs."""
    try:
        yield
    except (SQLAlchemyError, *DRIVER_ERRORS) as error:
        raise translate(error) from error


def sqlstate_of(error: BaseException) -> str | None:
    """PostgreSQL's five-character code, however the driver's error is wrapped; None for what the server did not say."""
    code = getattr(_driver_error(error), "sqlstate", None)
    return code if isinstance(code, str) else None


def _driver_error(error: BaseException) -> BaseException:
    """Unwrap SQLAlchemy's two layers around the driver's own error."""
    original = getattr(error, "driver_exception", None)
    return original if isinstance(original, BaseException) else error


def _kind(error: BaseException, driver: BaseException) -> _Key:
    for kinds, meaning in _BY_TYPE:
        if isinstance(error, kinds) or isinstance(driver, kinds):
            return meaning
    if (code := sqlstate_of(error)) is not None:
        return _BY_CODE.get(code) or _BY_CLASS.get(code[:2], DatabaseFault)
    if is_in_use(driver):
        return DatabaseFault
    broken = isinstance(error, DBAPIError) and error.connection_invalidated
    broken = broken or (isinstance(error, PendingRollbackError) and error.code == _CONNECTION_LOST)
    # A server-side cursor finds out by itself: SQLAlchemy does not look at what its fetches raise.
    broken = broken or (isinstance(driver, asyncpg.InterfaceError) and "connection is closed" in str(driver))
    return DatabaseUnavailable if broken else DatabaseFault
