"""How long a function takes, and how much of it its statements."""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from time import perf_counter
from typing import Any, ParamSpec, TypeVar, cast

import structlog

from app.core.errors import ConfigurationError

_log = structlog.get_logger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


def track_performance(
    threshold_ms: float = 100.0, *, clock: Callable[[], float] = perf_counter
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Log ``function.slow`` (warning) whenever the function takes ``threshold_ms`` milliseconds or more.

    Otherwise ``function.finished`` at DEBUG. Both with the name, ``duration_ms`` and the error's class if it
    failed; no arguments. For plain and async functions; both keep their kind and signature. Cheap enough for
    production. Not for handlers, which have their metrics. Raises ConfigurationError for generators, whose work
    is done later, and for a negative threshold.
    """
    if isinstance(threshold_ms, bool) or not isinstance(threshold_ms, int | float) or not threshold_ms >= 0:
        raise ConfigurationError(
            "threshold_ms must be 0 or more; write @QueryDecorator.track_performance(threshold_ms=100)"
        )

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = f"{function.__module__}.{function.__qualname__}"
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"track_performance cannot time the generator {name}")
        if inspect.iscoroutinefunction(function):
            awaited = cast("Callable[P, Awaitable[Any]]", function)

            @wraps(function)
            async def timed_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with slow_told(name, threshold_ms, clock):
                    return await awaited(*args, **kwargs)

            return cast("Callable[P, R]", timed_async)

        @wraps(function)
        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            with slow_told(name, threshold_ms, clock):
                return function(*args, **kwargs)

        return timed

    return decorate


@contextmanager
def slow_told(
    name: str, threshold_ms: float = 100.0, clock: Callable[[], float] = perf_counter
) -> Iterator[None]:
    """``track_performance`` around a block."""
    started, error = clock(), None
    try:
        yield
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        passed = (clock() - started) * 1000
        said = {"function": name, "duration_ms": round(passed, 3), **({"error": error} if error else {})}
        if passed >= threshold_ms:
            _log.warning("function.slow", threshold_ms=threshold_ms, **said)
        else:
            _log.debug("function.finished", **said)
