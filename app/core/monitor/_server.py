"""The server that is watched, asked over two connections that nobody else uses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.db import Database
from app.core.monitor._errors import monitor_errors
from app.core.resilience import Clock, SystemClock

APPLICATION_NAME: Final = "gatehouse-monitor"
"""Of the monitor's own connections, so that it can leave itself out of what it shows."""

_CONNECTIONS = 2
_FACTS_KEPT_S = 60.0
_GOODBYE_S = 0.5
_T = TypeVar("_T")

_FACTS: LiteralString = """
SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_name,
       pg_catalog.pg_is_in_recovery() AS is_standby, current_database()::text AS database,
       current_setting('block_size')::int AS block_size, pg_catalog.pg_postmaster_start_time() AS started_at,
       (SELECT s.stats_reset FROM pg_catalog.pg_stat_database s WHERE s.datname = current_database()) AS stats_reset,
       (SELECT pg_catalog.array_agg(e.extname::text) FROM pg_catalog.pg_extension e) AS installed,
       (SELECT pg_catalog.array_agg(a.name::text) FROM pg_catalog.pg_available_extensions() a) AS available
"""


# What was found without a schema before is kept, for questions about tables that are named so.
_OWN_NAMES: LiteralString = """
SELECT pg_catalog.set_config('gatehouse.schemas', pg_catalog.current_schemas(false)::pg_catalog.text, true);
SET LOCAL search_path = pg_catalog, pg_temp
"""


class Asked(Protocol):
    """What a question gets: a connection inside a READ ONLY transaction that will be rolled back. asyncpg's own object fulfils it."""

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        """All rows; ``$1`` are the values."""

    async def fetchrow(self, query: str, *values: Any) -> Any:
        """The first row, or None."""

    async def fetchval(self, query: str, *values: Any) -> Any:
        """The first row's first column, or None."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server is. ``version`` as 180006; ``installed`` and ``available`` are extensions; ``stats_reset`` None: never."""

    version: int
    version_name: str
    is_standby: bool
    database: str
    block_size: int
    started_at: datetime
    stats_reset: datetime | None
    installed: frozenset[str]
    available: frozenset[str]

    def has(self, extension: str) -> bool:
        """Whether the extension is installed in this database."""
        return extension in self.installed


class MonitorServer:
    """Puts questions to the server of ``database``; one for each process, on one event loop.

    Every question runs in a READ ONLY transaction that is rolled back, with a limit on each statement (``statement_timeout_ms``, 1,000
    unless told), on waiting for locks (200 ms: waiting for one would hold up whoever waits behind us, a migration for example), and on
    all of it together (``budget_s``). The two connections are the monitor's own: a server that hangs takes them and nothing of the
    service's. Works behind PgBouncer in transaction mode. ``close`` when the service stops.
    """

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self._database = database.lone(APPLICATION_NAME, 10, connections=_CONNECTIONS, pool_timeout_s=1)
        self._clock = clock or SystemClock()
        self._facts: tuple[float, ServerFacts] | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()

    @asynccontextmanager
    async def ask(
        self, *, statement_timeout_ms: int = 1_000, lock_timeout_ms: int = 200, budget_s: float = 3.0
    ) -> AsyncIterator[Any]:
        """A connection for one question, or for a few that belong together: asyncpg's, in a READ ONLY transaction.

        Raises MonitorBusy, MonitorTimeout, MonitorLocked, MonitorUnreachable (all 503), MonitorDenied (403). The block must not commit;
        what it leaves in the session (prepared statements, hypothetical indexes) it must take away itself.
        """
        with monitor_errors():
            async with (
                asyncio.timeout(budget_s),
                self._database.engine.connect() as connection,
                _transaction(connection, statement_timeout_ms, lock_timeout_ms) as driver,
            ):
                yield driver

    async def put(self, question: Callable[[Asked], Awaitable[_T]]) -> _T:
        """The answer to one question, in which only PostgreSQL's own functions and operators have names without a schema: one that
        somebody made for the catalogs' types would be preferred to a cast, and run with the monitor's rights (CVE-2018-1058).

        Raises as ``ask`` does.
        """
        async with self.ask() as connection:
            await connection.execute(_OWN_NAMES)
            return await question(connection)

    async def facts(self) -> ServerFacts:
        """Version, extensions and the like; at most a minute old. Raises as ``ask`` does."""
        now = self._clock.monotonic()
        if self._facts is None or now - self._facts[0] > _FACTS_KEPT_S:
            self._facts = (now, await self.put(_facts))
        return self._facts[1]


async def _facts(asked: Asked) -> ServerFacts:
    row = dict(await asked.fetchrow(_FACTS))
    row["installed"], row["available"] = frozenset(row["installed"] or ()), frozenset(row["available"] or ())
    return ServerFacts(**row)


@asynccontextmanager
async def _transaction(
    connection: AsyncConnection, statement_timeout_ms: int, lock_timeout_ms: int
) -> AsyncIterator[Any]:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    try:
        await driver.execute(
            "BEGIN READ ONLY;"
            f" SET LOCAL statement_timeout = {statement_timeout_ms:d}; SET LOCAL lock_timeout = {lock_timeout_ms:d};"
            " SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL jit = off"
        )
        yield driver
    finally:
        await _roll_back(connection, driver)


async def _roll_back(connection: AsyncConnection, driver: Any) -> None:
    """End the transaction, or the connection when the server does not even answer to that."""
    try:
        async with asyncio.timeout(_GOODBYE_S):
            # Locks that a function took while the server planned outlive the transaction.
            await driver.execute("ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()")
    except (Exception, asyncio.CancelledError) as error:
        driver.terminate()
        await connection.invalidate()
        if isinstance(error, asyncio.CancelledError):
            raise
