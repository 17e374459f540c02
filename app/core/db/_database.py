"""One database as one process sees it: a pool that is made when it is first needed."""

import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, ClassVar, LiteralString, Protocol, cast

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from app.core.db._database_status import PoolStatus, Probe, ReplicaStatus
from app.core.db._errors import translate_errors
from app.core.db._listeners import install_listeners, timed
from app.core.db._lone_statement import noted, run_alone
from app.core.db._measured_pool import MeasuredPool
from app.core.db._query_tags import QueryTags
from app.core.db._reading import ReadRoute
from app.core.db._session_types import ReadSession, WriteSession
from app.core.db._url import Provider, parse_url
from app.core.errors import ConfigurationError
from app.core.observability import BreakerEvent, EventHub
from app.core.resilience import BreakerRules, Clock, RollingBreaker

_log = structlog.get_logger(__name__)
_inherited: list[AsyncEngine] = []


class AttachedReplica(ReadRoute, Protocol):
    """What a database asks of its replica; ``Replica`` is one."""

    @property
    def status(self) -> ReplicaStatus:
        """What was found last."""

    def attach(self, primary: "Database", /) -> None:
        """It is this database's from now on."""

    async def close(self) -> None:
        """Close its connections."""


class Database:
    """A lazy pool of connections, and the sessions on it.

    Nothing connects before the first statement, and a forked child makes a pool of its own, so the object may
    be made anywhere. It belongs to one event loop. Times are in seconds: ``pool_timeout_s`` bounds the wait
    for a connection (then ``PoolExhausted``), ``pool_recycle_s`` the age of one (-1: never),
    ``statement_timeout_s`` a statement (0: no limit; then ``DatabaseTimeout``). ``query_tags`` are those of
    ``QueryTags`` that each statement carries. ``clock`` is the breaker's. ``replica`` is where transactions that only read may go.
    """

    connect_timeout_s: ClassVar[float] = 10.0
    # Slow is no verdict: how long a caller keeps its session is the caller's affair.
    breaker_rules: ClassVar[BreakerRules] = BreakerRules(
        min_calls=5, open_for=1.0, open_most=15.0, slow_after=float("inf")
    )

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        max_overflow: int = 10,
        pool_timeout_s: float = 30.0,
        pool_recycle_s: int = 1800,
        statement_timeout_s: float = 30.0,
        application_name: str = "gatehouse",
        query_tags: Iterable[str] = (),
        hub: EventHub | None = None,
        clock: Clock | None = None,
        replica: AttachedReplica | None = None,
    ) -> None:
        if pool_size < 1 or max_overflow < 0 or pool_timeout_s <= 0 or statement_timeout_s < 0:
            raise ConfigurationError(
                "needs pool_size >= 1, max_overflow >= 0, pool_timeout_s > 0 and statement_timeout_s >= 0"
            )
        self._target = parse_url(url)
        self._pool_options = {
            "pool_size": pool_size,
            "max_overflow": max_overflow,
            "pool_timeout": pool_timeout_s,
            "pool_recycle": pool_recycle_s,
        }
        self._limit = pool_size + max_overflow
        self._statement_timeout_s = statement_timeout_s
        self._application_name = application_name
        self._tags = QueryTags(query_tags)
        self._hub = hub
        self._breaker = _breaker(f"database:{application_name}", self.breaker_rules, hub, clock)
        self._engine: AsyncEngine | None = None
        self._reading: AsyncEngine | None = None
        self.replica = replica
        """Where reads may go instead; None: there is none."""
        if replica is not None:
            replica.attach(self)
        self._pid = 0

    def __repr__(self) -> str:
        return f"Database({self._target!r})"

    @property
    def url(self) -> str:
        """The URL with its password, for tools that connect by themselves. Do not log it."""
        return self._target.url.render_as_string(hide_password=False)

    @property
    def provider(self) -> Provider:
        """Who runs the server, by its host's name."""
        return self._target.provider

    @property
    def engine(self) -> AsyncEngine:
        """This process's engine. A forked child gets one of its own; the parent still uses what it inherited."""
        if self._engine is None or self._pid != os.getpid():
            if self._engine is not None:
                # Kept, not dropped: the driver says goodbye to the server when a connection is collected, and
                # the socket it would say it on is the parent's as well.
                _inherited.append(self._engine)
            self._engine = self._make_engine(
                poolclass=MeasuredPool,
                pool_logging_name=self._application_name,
                pool_use_lifo=True,  # The warmest connection first; after a burst the others grow old.
                **self._pool_options,
            )
            self._reading = self._engine.execution_options(postgresql_readonly=True)
            self._pid = os.getpid()
        return self._engine

    @property
    def reading_engine(self) -> AsyncEngine:
        """The engine, and its pool, with transactions that are READ ONLY from their BEGIN on, which costs nothing more."""
        engine = self.engine
        return self._reading or engine

    def session(self, **options: Any) -> WriteSession:
        """A new session: no connection before its first statement, objects stay readable after a commit.

        The caller closes it; prefer ``get_db`` and ``get_db_context``, which do. ``options`` are
        SQLAlchemy's.
        """
        options.setdefault("expire_on_commit", False)
        return WriteSession(self.engine, close_resets_only=False, **options)

    def read_session(self, is_fresh: Callable[[], bool] = bool, **options: Any) -> ReadSession:
        """A new session that only reads, from the replica where that may be; otherwise as ``session``.

        ``is_fresh`` is asked when a transaction begins: whether it must see all that is committed by then, so from the primary.
        """
        options.setdefault("expire_on_commit", False)
        return ReadSession(
            self.reading_engine, close_resets_only=False, route=self.replica, is_fresh=is_fresh, **options
        )

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A bare connection on which each statement is its own transaction, for probes and administration."""
        with translate_errors():
            async with self.engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def fetch(self, statement: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement that is a transaction of its own; its parameters are ``$1``, ``$2``.

        For hot paths: the driver runs it without SQLAlchemy, which takes longer for a small statement than the server does. It counts in
        the metrics, but carries no query tags, the query tools do not see it, and columns have the driver's types. Not inside a
        transaction of yours: it is on another connection. What the query cache has of the tables that it writes has ended when it returns.
        Raises our errors: ``CommitOutcomeUnknown`` when a write was sent and the connection broke. Cancelled, its outcome is unknown.
        """
        with translate_errors():
            async with noted(statement), self.engine.connect() as connection:
                with timed(statement, values, self._hub):
                    rows = await run_alone(connection, statement, values, in_transaction=self.through_pooler)
        return cast("list[tuple[Any, ...]]", rows)

    async def ping(self) -> None:
        """One round trip. Raises a ``DatabaseError`` when there is no answer."""
        async with self.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def probe(self) -> Probe:
        """Ask the server for its version and take the time. Raises as ``ping`` does."""
        started = perf_counter()
        async with self.connect() as connection:
            version = await connection.scalar(text("SHOW server_version"))
        return Probe(perf_counter() - started, str(version).split(" ", 1)[0])

    def pool_status(self) -> PoolStatus:
        """Counts of the pool as it stands; asks nobody."""
        pool = self.engine.pool
        assert isinstance(pool, AsyncAdaptedQueuePool)  # noqa: S101 - we made it; for the type checker
        out, idle = pool.checkedout(), pool.checkedin()
        return PoolStatus(pool.size(), self._limit, out + idle, out, max(0, pool.overflow()))

    @property
    def waiting(self) -> int:
        """Callers of this process that wait for a connection at this moment."""
        pool = self.engine.pool
        assert isinstance(pool, MeasuredPool)  # noqa: S101 - we made it; for the type checker
        return pool.meter.waiting

    def tell_utilization(self) -> None:
        """Put the share of connections in use into ``gatehouse_pool_utilization_percent``."""
        pool = self.engine.pool
        assert isinstance(pool, MeasuredPool)  # noqa: S101 - we made it; for the type checker
        pool.meter.utilization(self.pool_status().utilization_percent)

    @property
    def breaker(self) -> RollingBreaker:
        """What ``ConnectionPool`` decides by: opens when half of five or more uses within ten seconds found no database."""
        return self._breaker

    async def close(self) -> None:
        """Close idle connections.

        Those in use close when they come back. The object may be used again afterwards.
        """
        if self.replica is not None:
            await self.replica.close()
        if self._engine is not None:
            engine, self._engine, self._reading = self.engine, None, None
            await engine.dispose()

    @property
    def through_pooler(self) -> bool:
        """Whether the URL leads to a pooler in transaction mode (``?pgbouncer=true``), where a session is nobody's."""
        return self._target.through_pooler

    def lone(
        self,
        application_name: str,
        statement_timeout_s: float,
        *,
        connections: int = 1,
        pool_timeout_s: float = 30.0,
    ) -> "Database":
        """Another pool on the same server, of a fixed size, for questions that must not wait for this one's. The caller closes it."""
        made = Database(
            self.url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout_s=pool_timeout_s,
            application_name=application_name,
            statement_timeout_s=statement_timeout_s,
        )
        made._target = self._target
        return made

    def lone_engine(self) -> AsyncEngine:
        """An engine without a pool, for a connection that is kept for long and must not take a request's place.

        The caller disposes of it.
        """
        return self._make_engine(poolclass=NullPool)

    def _make_engine(self, **pool: Any) -> AsyncEngine:
        engine = create_async_engine(
            self._target.engine_url,
            hide_parameters=True,
            connect_args={
                "async_creator_fn": connect_driver,
                "timeout": self.connect_timeout_s,
                **self._server_options(),
                **self._target.connect_args(),
            },
            **pool,
        )
        install_listeners(engine.sync_engine, self._hub)
        self._tags.install(engine.sync_engine)
        return engine

    def _server_options(self) -> dict[str, Any]:
        """Start-up parameters.

        A pooler in transaction mode accepts only the name, so there the driver keeps the time itself.
        """
        name, timeout = {"application_name": self._application_name}, self._statement_timeout_s
        if self._target.through_pooler:
            return {"server_settings": name, "command_timeout": timeout or None}
        # jit: compiling a statement costs more than a web request's statements take.
        limit = str(max(1, round(timeout * 1000))) if timeout else "0"
        return {"server_settings": {**name, "jit": "off", "statement_timeout": limit}}


def _breaker(name: str, rules: BreakerRules, hub: EventHub | None, clock: Clock | None) -> RollingBreaker:
    def changed(dependency: str, state: str, former: str) -> None:
        _log.warning("breaker.changed", dependency=dependency, state=state, former=former)
        if hub is not None:
            hub.emit(BreakerEvent(dependency, state, former))

    return RollingBreaker(name, rules, clock=clock, on_change=changed)


async def connect_driver(*args: Any, **options: Any) -> Any:
    """Refused, unreachable and unauthorised leave here as our errors.

    SQLAlchemy passes most of them through untouched.
    """
    with translate_errors():
        return await asyncpg.connect(*args, **options)
