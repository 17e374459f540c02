"""Sessions behind a circuit breaker, and what a pool is worth at this moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from app.core.resilience import Leave

_HEALTHY_PERCENT = 85.0


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
        """Work on a session of the caller's own behind the breaker; as ``session_scope`` otherwise."""
        leave = self._leave()
        try:
            with translate_sql_errors():
                yield
        except BaseException as error:
            _judge(leave, error)
            raise
        leave.succeeded()

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

    def _leave(self) -> Leave:
        breaker = self.database.breaker
        leave = breaker.try_acquire()
        if leave is None:
            wait = max(1, ceil(breaker.retry_after_s()))
            raise PoolCircuitOpen("The database cannot be reached", retry_after=wait)
        return leave


def _judge(leave: Leave, error: BaseException) -> None:
    """What the end of a use says of the database."""
    if isinstance(error, DatabaseUnavailable):
        leave.failed()
    elif (
        isinstance(error, GatehouseError)
        and getattr(error, "sqlstate", None)
        and not isinstance(error, PoolExhausted)
    ):
        leave.succeeded()  # It answered, if only to refuse.
    else:
        leave.abandoned()
