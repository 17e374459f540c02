"""``api_worker(config)``: what surrounds a handler. Deadline now; breaker, retry and slots join it here.

The handler keeps its kind: async stays async, sync stays sync (FastAPI runs it in a thread), a generator stays a generator.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from app.core.context import current_context
from app.core.errors import DeadlineExceeded
from app.core.http._gate import current_ticket
from app.core.observability import WorkEvent
from app.core.policies import JobConfig
from app.core.resilience import SystemClock

P = ParamSpec("P")
R = TypeVar("R")
CONFIG = "__gatehouse_config__"
_clock = SystemClock()


def api_worker(config: JobConfig) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run the handler under ``config``, which must be the one its gate carries (the boot audit compares).

    An async handler that is not done by the deadline is cancelled and answered 504, its transaction rolled back. A sync handler
    cannot be stopped: it is not started after the deadline. A stream's deadline ends with its first item.
    """

    def decorate(handler: Callable[P, R]) -> Callable[P, R]:
        worker = wraps(handler)(_wrapper_of(handler))
        setattr(worker, CONFIG, config)
        return cast("Callable[P, R]", worker)

    return decorate


def _wrapper_of(handler: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(handler):
        return _async_stream(handler)
    if inspect.isgeneratorfunction(handler):
        return _stream(handler)
    if inspect.iscoroutinefunction(handler):
        return _coroutine(handler)
    return _function(handler)


def _coroutine(handler: Callable[..., Any]) -> Callable[..., Any]:
    async def worker(*args: Any, **kwargs: Any) -> Any:
        deadline = current_context().deadline
        if deadline is None:
            with _Work():
                return await handler(*args, **kwargs)
        left = deadline - _clock.monotonic()
        _require(left)
        limit = asyncio.timeout(left)
        with _Work():
            try:
                async with limit:
                    return await handler(*args, **kwargs)
            except TimeoutError as error:
                if limit.expired():
                    raise _too_late() from error
                raise

    return worker


def _function(handler: Callable[..., Any]) -> Callable[..., Any]:
    def worker(*args: Any, **kwargs: Any) -> Any:
        _require_time()
        with _Work():
            return handler(*args, **kwargs)

    return worker


def _async_stream(handler: Callable[..., Any]) -> Callable[..., Any]:
    async def worker(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        _require_time()
        with _Work():
            async for item in handler(*args, **kwargs):
                yield item

    return worker


def _stream(handler: Callable[..., Any]) -> Callable[..., Any]:
    def worker(*args: Any, **kwargs: Any) -> Iterator[Any]:
        _require_time()
        with _Work():
            yield from handler(*args, **kwargs)

    return worker


def _require_time() -> None:
    deadline = current_context().deadline
    if deadline is not None:
        _require(deadline - _clock.monotonic())


def _require(left: float) -> None:
    if left <= 0:
        raise _too_late()


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("The endpoint's time is over.", extensions={"policy": current_context().route})


class _Work:
    """Times one run and reports it, if the handler runs behind a gate that wants metrics."""

    __slots__ = ("_started",)

    def __enter__(self) -> None:
        self._started = _clock.monotonic()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        ticket = current_ticket()
        if ticket is None or not ticket.config.metrics:
            return
        outcome = "ok"
        if kind is not None:
            outcome = "timeout" if issubclass(kind, DeadlineExceeded) else "error"
            outcome = "cancelled" if issubclass(kind, asyncio.CancelledError | GeneratorExit) else outcome
        ticket.gate.hub.emit(WorkEvent(ticket.name, _clock.monotonic() - self._started, outcome))
