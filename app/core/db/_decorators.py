"""Decorators for async functions that speak to the database. They compose in any order; the guide's is

@with_secure_environment      the configuration is loaded
@with_engine_connection       a session comes from the pool, is committed and given back
@retry_decorator              from core.resilience
@with_query_optimization      each attempt can be undone; breaker and time
@with_pool_metrics            what the pool was like
@with_encrypted_parameters    from core.security
"""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._environment import require_environment
from app.core.db._pool import ConnectionPool
from app.core.db._savepoint import Savepoint
from app.core.errors import ConfigurationError
from app.core.observability import record_db_latency

P = ParamSpec("P")
R = TypeVar("R")

FROM_POOL: Any = None
"""The default of a parameter that ``with_engine_connection`` fills: ``session: AsyncSession = FROM_POOL``."""

_NAMES = ("session", "db", "db_session")
_ALERT_PERCENT = 80.0
_log = structlog.get_logger(__name__)


def with_secure_environment(function: Callable[P, Awaitable[R]], /) -> Callable[P, Awaitable[R]]:
    """Before the function runs, see to it that a database is configured; if not, load ``.env`` as ``load_environment_files()`` does.

    Once configured it costs nothing. Raises what ``load_environment_files`` raises, or ``ConfigurationError`` when nothing named a
    database. Async functions only (ConfigurationError). Not needed inside the service, which has its configuration.
    """
    _require_async(function, "with_secure_environment")

    @wraps(function)
    async def secured(*args: P.args, **kwargs: P.kwargs) -> R:
        require_environment()
        return await function(*args, **kwargs)

    return secured


def with_engine_connection(function: Callable[P, Awaitable[R]], /) -> Callable[P, Awaitable[R]]:
    """Call the function with a session of ``ConnectionPool()`` in its parameter ``session``, ``db`` or ``db_session``.

    Committed when the function returns, rolled back on an error, behind the pool's breaker. A session that the caller gives is used
    as it is and stays the caller's. Raises ConfigurationError at once for a function without such a parameter or that is not async;
    at the call what ``ConnectionPool.session_scope`` raises. Not for handlers.
    """
    _require_async(function, "with_engine_connection")
    signature = inspect.signature(function)
    name = next((each for each in _NAMES if each in signature.parameters), None)
    if name is None:
        raise ConfigurationError(
            f"with_engine_connection: {function.__qualname__} has no parameter session, db or db_session"
        )

    @wraps(function)
    async def connected(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind_partial(*args, **kwargs)
        if bound.arguments.get(name) is not None:
            return await function(*args, **kwargs)
        async with ConnectionPool().session_scope() as session:
            bound.arguments[name] = session
            return await function(*bound.args, **bound.kwargs)

    return connected


def with_query_optimization(function: Callable[P, Awaitable[R]], /) -> Callable[P, Awaitable[R]]:
    """Behind the pool's breaker, timed into ``db_latency_seconds{operation}``, and undone as a whole when it fails.

    What a failed call did on the sessions among its arguments is rolled back (to a savepoint, if they were in a transaction), so that
    a retry outside of it starts from the same place. Driver errors leave it translated. Keep results with ``get_or_set_cache``.
    Async functions only (ConfigurationError). ``PoolCircuitOpen`` while the database is away.
    """
    _require_async(function, "with_query_optimization")
    operation = function.__qualname__

    @wraps(function)
    async def optimized(*args: P.args, **kwargs: P.kwargs) -> R:
        sessions = [each for each in (*args, *kwargs.values()) if isinstance(each, AsyncSession)]
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(record_db_latency(operation))
            await stack.enter_async_context(ConnectionPool().guarded())
            await stack.enter_async_context(Savepoint(sessions))
            return await function(*args, **kwargs)

    return optimized


def with_pool_metrics(function: Callable[P, Awaitable[R]], /) -> Callable[P, Awaitable[R]]:
    """Look at the pool when the function ends, failed or not: ``gatehouse_pool_utilization_percent``, and ``pool.nearly_full`` in the log.

    The warning comes when 80 % or more of the connections are in use, with the function's name. Asks the server nothing. Async
    functions only (ConfigurationError).
    """
    _require_async(function, "with_pool_metrics")

    @wraps(function)
    async def measured(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        finally:
            _look(ConnectionPool(), function.__qualname__)

    return measured


def _look(pool: ConnectionPool, function: str) -> None:
    try:
        database = pool.database
    except ConfigurationError:
        return  # The function had a session of another database, or its own error to tell.
    percent = database.pool_status().utilization_percent
    database.tell_utilization()
    if percent >= _ALERT_PERCENT:
        _log.warning(
            "pool.nearly_full", function=function, percent=round(percent, 1), waiting=database.waiting
        )


def _require_async(function: Callable[..., Any], decorator: str) -> None:
    if not inspect.iscoroutinefunction(function):
        name = getattr(function, "__qualname__", repr(function))
        raise ConfigurationError(f"{decorator} takes async functions, and {name} is none")
