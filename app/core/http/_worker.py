"""``api_worker(config)``: what surrounds a handler. Deadline now; breaker, retry and slots join it here.

The handler keeps its kind: async stays async, sync stays sync (FastAPI runs it in a thread), a generator stays a generator.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from time import monotonic
from typing import Any, ParamSpec, TypeVar, cast

from opentelemetry.trace import Tracer

from app.core.errors import DeadlineExceeded
from app.core.http._gate import Ticket, current_ticket
from app.core.observability import WorkEvent
from app.core.policies import JobConfig

P = ParamSpec("P")
R = TypeVar("R")
CONFIG = "__gatehouse_config__"


def api_worker(config: JobConfig) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run the handler under ``config``, which must be the one its gate carries (the boot audit compares).

    An async handler that is not done by the deadline is cancelled and answered 504, its transaction rolled back. A sync handler
    cannot be stopped: it is not started after the deadline. A stream's deadline ends with its start. Outside a gated request, in a
    test or a script, the handler simply runs.
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
        ticket = current_ticket()
        if ticket is None:
            return await handler(*args, **kwargs)
        started, outcome = monotonic(), "error"
        try:
            result = await _spanned(ticket, handler, args, kwargs)
            outcome = "ok"
        except DeadlineExceeded:
            outcome = "timeout"
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            if ticket.config.metrics:
                ticket.gate.hub.emit(WorkEvent(ticket.name, monotonic() - started, outcome))
        return result

    return worker


def _spanned(ticket: Ticket, handler: Callable[..., Any], args: Any, kwargs: Any) -> Awaitable[Any]:
    if ticket.gate.tracer is None:
        return _in_time(ticket, handler, args, kwargs)
    return _in_span(ticket.gate.tracer, ticket, handler, args, kwargs)


async def _in_span(
    tracer: Tracer, ticket: Ticket, handler: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    with tracer.start_as_current_span(f"worker {ticket.name}"):
        return await _in_time(ticket, handler, args, kwargs)


async def _in_time(ticket: Ticket, handler: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    if ticket.deadline is None:
        return await handler(*args, **kwargs)
    _require_time(ticket)
    watch = ticket.gate.deadlines.watch(ticket.deadline)
    try:
        result = await handler(*args, **kwargs)
    except asyncio.CancelledError as error:
        if watch.finish():
            raise _too_late(ticket) from error
        raise
    except BaseException:
        watch.finish()
        raise
    watch.finish()
    return result


def _function(handler: Callable[..., Any]) -> Callable[..., Any]:
    def worker(*args: Any, **kwargs: Any) -> Any:
        with _reported():
            return handler(*args, **kwargs)

    return worker


def _async_stream(handler: Callable[..., Any]) -> Callable[..., Any]:
    async def worker(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _reported():
            async for item in handler(*args, **kwargs):
                yield item

    return worker


def _stream(handler: Callable[..., Any]) -> Callable[..., Any]:
    def worker(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with _reported():
            yield from handler(*args, **kwargs)

    return worker


@contextmanager
def _reported() -> Iterator[None]:
    """Check the deadline once, then time what runs."""
    ticket = current_ticket()
    if ticket is None:
        yield
        return
    started, outcome = monotonic(), "error"
    try:
        _require_time(ticket)
        tracer = ticket.gate.tracer
        with tracer.start_as_current_span(f"worker {ticket.name}") if tracer else nullcontext():
            yield
        outcome = "ok"
    except DeadlineExceeded:
        outcome = "timeout"
        raise
    except (asyncio.CancelledError, GeneratorExit):
        outcome = "cancelled"
        raise
    finally:
        if ticket.config.metrics:
            ticket.gate.hub.emit(WorkEvent(ticket.name, monotonic() - started, outcome))


def _require_time(ticket: Ticket) -> None:
    if ticket.deadline is not None and ticket.deadline <= monotonic():
        raise _too_late(ticket)


def _too_late(ticket: Ticket) -> DeadlineExceeded:
    return DeadlineExceeded("The endpoint's time is over.", extensions={"policy": ticket.name})
