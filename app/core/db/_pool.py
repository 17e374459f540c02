"""Sessions behind a circuit breaker, and what a pool is worth at this moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import ceil
from time import perf_counter
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._database import Database
from app.core.db._database_status import PoolStatus
from app.core.db._default import default_database
from app.core.db._errors import DatabaseError, DatabaseUnavailable, PoolExhausted, translate_sql_errors
from app.core.db._sessions import get_db_context
from app.core.errors import GatehouseError
from app.core.resilience import Leave, RollingBreaker

_HEALTHY_PERCENT = 85.0


@dataclass(slots=True, eq=False)
class _Use:
    """A use under way. ``judged``: the error that a use inside it has told the breaker already."""

    breaker: RollingBreaker
    leave: Leave
    judged: BaseException | None = None
    is_over: bool = False


_uses: ContextVar[tuple[_Use, ...]] = ContextVar("gatehouse_pool_uses", default=())


class PoolCircuitOpen(DatabaseUnavailable):
    """The database failed just now, so nobody asks it until ``retry_after`` seconds have passed. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class PoolHealth:
    """A pool that was asked. ``latency_s``: seconds of a round trip, None when there was no answer; ``breaker``: its state."""

    status: PoolStatus
    waiting: int
    breaker: str
    latency_s: float | None

    @property
    def is_healthy(self) -> bool:
        """The server answers, and no more than 85 % of the connections are in use."""
        return self.latency_s is not None and self.status.utilization_percent <= _HEALTHY_PERCENT


class ConnectionPool:
    """The pool of a database for scripts, jobs and decorators: ``async with ConnectionPool().session_scope() as session``.

    Without an argument it is the database that a door configured, asked for at each use, so the object may be made at import. All
    ``ConnectionPool`` objects of one database share its pool, its metrics (``gatehouse_pool_*``) and its breaker. Not for handlers:
    they ask for ``get_db``.
    """

    def __init__(self, database: Database | None = None) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"ConnectionPool({self._database!r})"

    @property
    def database(self) -> Database:
        """Whose pool this is. Raises ``ConfigurationError`` when none is configured."""
        return self._database or default_database()

    @asynccontextmanager
    async def session_scope(self, **options: Any) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed after the block and rolled back on an error; ``options`` are SQLAlchemy's.

        Driver errors leave it translated. An outage (``DatabaseUnavailable``) counts against the breaker; while that is open,
        ``PoolCircuitOpen`` is raised and nothing is asked. A full pool, a refused row and the caller's own errors are no outage.
        """
        async with self.guarded(), get_db_context(self.database, **options) as session:
            yield session

    @asynccontextmanager
    async def guarded(self) -> AsyncIterator[None]:
        """Work on a session of the caller's own behind the breaker; as ``session_scope`` otherwise.

        A use inside another one of the same database is part of it: one outage counts once, success is the outer one's to tell, and
        inside a probe it needs no leave of its own.
        """
        breaker, around = self.database.breaker, _uses.get()
        outer = next((use for use in around[::-1] if use.breaker is breaker and not use.is_over), None)
        leave = breaker.try_acquire()
        if leave is None:
            if outer is None or outer.leave.probe is None:
                raise _refusal(breaker)
            with translate_sql_errors():
                yield
            return
        use = _Use(breaker, leave)
        _uses.set((*around, use))
        try:
            with translate_sql_errors():
                yield
        except BaseException as error:
            _judge(use, error, outer)
            raise
        finally:
            use.is_over = True  # also for a task that began in the block and goes on
            _uses.set(around)  # no token: fixtures and generators may end in another context
        if outer is None or leave.probe is not None:
            leave.succeeded()
        else:
            leave.abandoned()

    async def health(self) -> PoolHealth:
        """Ask the server with one round trip, whatever the breaker says; raises nothing for a server that does not answer."""
        database, started, latency = self.database, perf_counter(), None
        try:
            await database.ping()
            latency = perf_counter() - started
        except DatabaseError:
            pass
        return PoolHealth(
            database.pool_status(), database.waiting, database.breaker.snapshot().state, latency
        )

    async def validate(self) -> None:
        """One round trip, as the breaker's probe too. Raises ``DatabaseError``, ``PoolCircuitOpen`` or nothing."""
        async with self.guarded():
            await self.database.ping()


def _refusal(breaker: RollingBreaker) -> PoolCircuitOpen:
    return PoolCircuitOpen(
        "The database cannot be reached", retry_after=max(1, ceil(breaker.retry_after_s()))
    )


def _judge(use: _Use, error: BaseException, outer: _Use | None) -> None:
    """What the end of a use says of the database."""
    if use.judged is error:
        use.leave.abandoned()
    elif isinstance(error, DatabaseUnavailable):
        use.leave.failed()
    elif (
        isinstance(error, GatehouseError)
        and getattr(error, "sqlstate", None)
        and not isinstance(error, PoolExhausted)
    ):
        use.leave.succeeded()  # It answered, if only to refuse.
    else:
        use.leave.abandoned()
    if outer is not None:
        outer.judged = error
