"""``@retry_decorator``: retry for any function, outside or inside a request."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast, overload

from app.core.context import current_context
from app.core.resilience._function_of import function_of
from app.core.resilience._retry import Retrier, RetryRules

P = ParamSpec("P")
R = TypeVar("R")


@overload
def retry_decorator(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def retry_decorator(
    *,
    max_retries: int | None = None,
    max_attempts: int | None = None,
    exceptions: type[Exception] | tuple[type[Exception], ...] | None = None,
    base: float = 0.1,
    cap: float = 5.0,
    backoff: float = 2.0,
    retrier: Retrier | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def retry_decorator(
    function: Callable[..., Any] | None = None,
    /,
    *,
    max_retries: int | None = None,
    max_attempts: int | None = None,
    exceptions: type[Exception] | tuple[type[Exception], ...] | None = None,
    base: float = 0.1,
    cap: float = 5.0,
    backoff: float = 2.0,
    retrier: Retrier | None = None,
) -> Any:
    """Run a function again after a failure that may pass, async or sync, keeping its kind and signature. Bare: 3 attempts.

    ``max_attempts`` in all, or ``max_retries`` after the first; both is ValueError. ``exceptions`` that are tried again; by default those
    that ``is_transient`` knows. Waits are random in 0 to ``min(cap, base * backoff**n)`` seconds and end with the request's deadline;
    each function has a budget of its own: a fifth of its calls and ten a second. ``retrier`` replaces all of these.

    Only for what may run twice. A sync function waits in its thread: do not call it on an event loop. Not on a generator (TypeError).
    In a transaction that a failure has spoilt, trying again fails too: open the session inside the function.
    """
    if max_retries is not None and max_attempts is not None:
        raise ValueError("retry_decorator takes max_retries or max_attempts (= max_retries + 1), not both")
    attempts = max_attempts if max_attempts is not None else 3 if max_retries is None else max_retries + 1
    kinds = (exceptions,) if isinstance(exceptions, type) else exceptions
    rules = RetryRules(attempts=attempts, base=base, cap=cap, factor=backoff, exceptions=kinds)

    def decorate(target: Callable[..., Any]) -> Callable[..., Any]:
        return _retried(target, retrier or Retrier(rules))

    return decorate if function is None else decorate(function)


def _retried(target: Callable[..., Any], retrier: Retrier) -> Callable[..., Any]:
    function = function_of(target)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError("retry_decorator cannot run a generator again: what it has given out is gone")
    if inspect.iscoroutinefunction(function):

        @wraps(target)
        async def again(*args: Any, **kwargs: Any) -> Any:
            return await retrier.run(
                lambda _attempt: target(*args, **kwargs), deadline=current_context().deadline
            )

        return cast("Callable[..., Any]", again)

    @wraps(target)
    def again_in_thread(*args: Any, **kwargs: Any) -> Any:
        return retrier.run_in_thread(lambda: target(*args, **kwargs), deadline=current_context().deadline)

    return again_in_thread
