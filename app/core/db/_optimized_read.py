"""One optimised read: out of the query cache, or asked behind the breaker, timed, and tried again where that is safe."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Generic, TypedDict

import structlog
from sqlalchemy import Select, Table
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.context import current_context
from app.core.db._default import default_database, is_configured
from app.core.db._errors import DatabaseUnavailable, SerializationFailure, translate, translate_sql_errors
from app.core.db._fields import Model, fields_of, mapper_of
from app.core.db._filters import Filters, to_filter
from app.core.db._loaded_tree import branches, nodes_of, rows_of_nodes
from app.core.db._pages import MAX_LIMIT, check_limit
from app.core.db._performance import slow_told
from app.core.db._pool import ConnectionPool
from app.core.db._query_cache import guest_of
from app.core.db._query_footprint import table_tags
from app.core.db._query_kept import Query, Tables, keeping, kept
from app.core.db._query_keys import digest
from app.core.db._savepoint import Savepoint
from app.core.db._scope import RowScope
from app.core.db._session_types import ReadSession
from app.core.db._sorting import OrderBy
from app.core.db._statements import ModelT, Statements
from app.core.errors import ConfigurationError
from app.core.observability import record_db_latency
from app.core.resilience import Retrier, RetryRules
from app.core.valkey import Scope, configured_cache

_log = structlog.get_logger(__name__)
_CACHE = "query_optimizer"
SLOW_MS = 100.0
_RULES = RetryRules(attempts=3, base=0.02, cap=0.5, exceptions=(Exception,))
"""Short, because a request waits; a server that refuses connections asks for a second, which is more, and so is not asked again."""


class ReadOptions(TypedDict, total=False):
    """Options of ``QueryOptimizer`` and ``OptimizedQuerySetMixin``; the page on query tools has their defaults.

    load: paths of relationships to prefetch, such as ``"assignments.template"``, each in one statement for all rows.
    order_by: as for repositories; by primary key unless it says otherwise.
    ttl: seconds (0.001 to 86,400) for which the result may be kept; None: not kept, and the rows are the session's own, to be changed.
    scope: whose a kept result is: "user", "tenant" or "public".
    sealed: encrypt what is kept; without it nothing that was decrypted on its way is kept.
    retrier: replaces the three attempts.
    """

    load: Iterable[str]
    order_by: OrderBy
    ttl: float | None
    scope: Scope
    sealed: bool
    retrier: Retrier


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """``ReadOptions`` with their defaults."""

    load: Iterable[str] = ()
    order_by: OrderBy = None
    ttl: float | None = 60.0
    scope: Scope = "user"
    sealed: bool = False
    retrier: Retrier | None = None


def check_options(options: ReadOptions) -> None:
    """Raises ConfigurationError for one that there is not, or that is out of range."""
    if unknown := sorted(options.keys() - ReadOptions.__annotations__.keys()):
        raise ConfigurationError(f"There is no option {', '.join(unknown)} of a read")
    how = _How(**options)
    if how.ttl is not None:
        keeping(how.ttl, _CACHE, how.scope, None, sealed=how.sealed)


class OptimizedRead(Generic[ModelT]):
    """Up to ``limit`` rows (1 to 1000) that fit ``params``. ``operation`` names it in metrics and logs: a word of the code.

    Everything that makes no sense is refused here, before anything is asked: QueryRefused (422), ConfigurationError for options.
    """

    def __init__(
        self,
        model: type[ModelT],
        params: Filters,
        session: AsyncSession,
        options: ReadOptions,
        *,
        operation: str,
        limit: int = MAX_LIMIT,
    ) -> None:
        self._how = how = _How(**options)
        self._model = model
        self._session = session
        self._operation = f"{model.__name__}.{operation}"
        self._paths = tuple(dict.fromkeys(how.load))
        statements = Statements(model, RowScope(model, None), "raise")
        order = statements.order(how.order_by)
        filters = to_filter(model, params)
        rows = statements.rows(filters, order=order, load=self._paths)
        self._statement: Select[ModelT] = rows.limit(check_limit(limit))
        self._about = (filters, [str(key) for key in order], limit, self._paths)

    async def run(self) -> list[ModelT]:
        """The rows. Raises our database errors, and PoolCircuitOpen while the database is away."""
        ttl, cache = self._how.ttl, configured_cache()
        if ttl is None:
            return await self._asked(self._own)
        how = keeping(ttl, _CACHE, self._how.scope, None, sealed=self._how.sealed)
        about = self._key() if cache is not None else None
        if about is None:
            return rows_of_nodes(await self._asked(self._apart))
        tables = _tables(self._model, self._paths)
        query = Query(
            ("optimized", about), tables, how, self._session, lambda: self._asked(self._apart), is_alone=True
        )
        return rows_of_nodes(await kept(query))

    def _key(self) -> str | None:
        """None for filters whose worth nobody can tell: their results are not kept."""
        model = self._model
        try:
            return digest(model.__module__, model.__qualname__, tuple(fields_of(model)), _plain(self._about))
        except ConfigurationError:
            return None

    async def _asked(self, attempt: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
        """``attempt`` behind breaker and clock, and again when the connection broke or the transaction lost a race.

        Only where nobody else's work is lost with it: a session that is in a transaction, or that has objects, which a rollback
        would expire, is its caller's.
        """
        session = self._session
        is_fresh = not session.in_transaction() and not session.identity_map

        async def once(_number: int) -> list[Any]:
            async with Savepoint((session,) if is_fresh else ()):
                return await attempt()

        def may_repeat(error: Exception) -> bool:
            is_passing = isinstance(translate(error), (DatabaseUnavailable, SerializationFailure))
            return is_fresh and is_passing and not session.in_transaction()

        retrier = self._how.retrier or _retrier(self._operation)
        async with _watched(self._operation, session):
            return await retrier.run(once, deadline=current_context().deadline, may_repeat=may_repeat)

    async def _own(self) -> list[Any]:
        return list((await self._session.scalars(self._statement)).all())

    async def _apart(self) -> list[Any]:
        """In a session of its own in the same transaction: whether kept or not, no row belongs to the caller's session."""
        async with guest_of(self._session) as guest:
            rows = (await guest.scalars(self._statement)).all()
            return nodes_of(rows, branches(self._paths))


@asynccontextmanager
async def _watched(operation: str, session: AsyncSession) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        stack.enter_context(slow_told(operation, SLOW_MS))
        await stack.enter_async_context(record_db_latency(operation))
        if _is_of_default(session):
            await stack.enter_async_context(ConnectionPool().guarded())
        stack.enter_context(translate_sql_errors())
        yield


def _is_of_default(session: AsyncSession) -> bool:
    """Whether the process's breaker knows anything of the session's server: it does not of replicas and of other databases."""
    if not is_configured():
        return False
    database = default_database()
    if isinstance(session, ReadSession) and database.replica is not None and not session.in_transaction():
        return False  # Where it will read is not known yet.
    # A session that only reads has another engine on the same pool.
    return session.get_bind().engine.pool is database.engine.pool


@lru_cache(maxsize=1024)
def _retrier(operation: str) -> Retrier:
    """With a budget of its own for each operation."""

    def report(verdict: str) -> None:
        if verdict != "final":
            _log.warning("query.attempt_failed", operation=operation, verdict=verdict)

    return Retrier(_RULES, report=report)


@lru_cache(maxsize=1024)
def _tables(model: Model, paths: tuple[str, ...]) -> Tables:
    """What the statements will read, so that the first run in a process is kept already. More is learned when they run."""
    mapped: list[Any] = list(mapper_of(model).tables)
    tables = Tables(None)
    for path in paths:
        mapper = mapper_of(model)
        for name in path.split("."):
            relationship = mapper.relationships[name]
            mapper = relationship.mapper
            mapped += [*mapper.tables, relationship.secondary]
    tables.seen = table_tags(table.fullname for table in mapped if isinstance(table, Table))
    return tables


def _plain(value: Any) -> Any:
    """Filters as plain data, whatever they are made of."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        worth = [_plain(getattr(value, field.name)) for field in fields(value)]
        return (kind.__module__, kind.__qualname__, worth)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
