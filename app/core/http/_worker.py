"""``api_worker(config)``: what surrounds a handler: its span and time, and deadline, retry, breaker and bulkhead of its policy.

The handler keeps its kind: async stays async, sync stays sync (FastAPI runs it in a thread), a generator stays a generator. The
effective config is the ticket's; the argument serves audit, jobs and tests.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from time import monotonic
from typing import Any, ParamSpec, TypeVar, cast

from opentelemetry.trace import Tracer

from app.core.db import savepoint
from app.core.errors import DeadlineExceeded
from app.core.http._gate import Ticket, current_ticket
from app.core.observability import Run
from app.core.policies import JobConfig
from app.core.resilience import function_of

P = ParamSpec("P")
R = TypeVar("R")
CONFIG = "__gatehouse_config__"


def api_worker(config: JobConfig) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run the handler under ``config``, which must be the one its gate carries (the boot audit compares).

    | | async | sync | stream |
    |---|---|---|---|
    | deadline | cancelled at it: 504, rolled back | not started after it, never stopped | not started after it |
    | attempt timeout | yes | no | no |
    | breaker, bulkhead | yes | yes; who waits for a place holds a thread | yes, to the stream's end |
    | retry | yes, each attempt in a savepoint of the request's session | yes | no |

    Outside a gated request, in a test or a script, the handler simply runs.
    """

    def decorate(handler: Callable[P, R]) -> Callable[P, R]:
        worker = wraps(handler)(_wrapper_of(handler))
        setattr(worker, CONFIG, config)
        return cast("Callable[P, R]", worker)

    return decorate


def _wrapper_of(handler: Callable[..., Any]) -> Callable[..., Any]:
    function = function_of(handler)
    if inspect.isasyncgenfunction(function):
        return _async_stream(handler)
    if inspect.isgeneratorfunction(function):
        return _stream(handler)
    if inspect.iscoroutinefunction(function):
        return _coroutine(handler)
    return _function(handler)


def _coroutine(handler: Callable[..., Any]) -> Callable[..., Any]:
    async def worker(*args: Any, **kwargs: Any) -> Any:
        ticket = current_ticket()
        if ticket is None:
            return await handler(*args, **kwargs)
        with _run_of(ticket):
            return await _spanned(ticket, handler, args, kwargs)

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
    if not ticket.gate.resilience.is_idle:
        return await _resilient(ticket, handler, args, kwargs)
    if ticket.deadline is None:
        _mark_started(ticket)
        return await handler(*args, **kwargs)
    _require_time(ticket)
    _mark_started(ticket)
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


async def _resilient(ticket: Ticket, handler: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    def call() -> Awaitable[Any]:
        _mark_started(ticket)
        return cast("Awaitable[Any]", handler(*args, **kwargs))

    return await ticket.gate.resilience.run(call, deadline=ticket.deadline, attempt=savepoint)


def _function(handler: Callable[..., Any]) -> Callable[..., Any]:
    def worker(*args: Any, **kwargs: Any) -> Any:
        with _reported() as ticket:

            def call() -> Any:
                _mark_started(ticket)
                return handler(*args, **kwargs)

            if ticket is None or ticket.gate.resilience.is_idle:
                return call()
            return ticket.gate.resilience.run_in_thread(call, deadline=ticket.deadline)

    return worker


def _async_stream(handler: Callable[..., Any]) -> Callable[..., Any]:
    async def worker(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _reported() as ticket:
            async with nullcontext() if ticket is None else ticket.gate.resilience.stream(ticket.deadline):
                _mark_started(ticket)
                async for item in handler(*args, **kwargs):
                    yield item

    return worker


def _stream(handler: Callable[..., Any]) -> Callable[..., Any]:
    def worker(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with (
            _reported() as ticket,
            nullcontext() if ticket is None else ticket.gate.resilience.stream_in_thread(ticket.deadline),
        ):
            _mark_started(ticket)
            yield from handler(*args, **kwargs)

    return worker


def _mark_started(ticket: Ticket | None) -> None:
    """From here on the handler may have had an effect: what was claimed for it is not simply given back."""
    if ticket is not None and ticket.claims is not None:
        ticket.claims.has_started = True


@contextmanager
def _reported() -> Iterator[Ticket | None]:
    """Check the deadline once, then time what runs."""
    ticket = current_ticket()
    if ticket is None:
        yield None
        return
    with _run_of(ticket):
        _require_time(ticket)
        tracer = ticket.gate.tracer
        with tracer.start_as_current_span(f"worker {ticket.name}") if tracer else nullcontext():
            yield ticket


def _run_of(ticket: Ticket) -> Run:
    return Run(ticket.gate.hub if ticket.config.metrics else None, ticket.name)


def _require_time(ticket: Ticket) -> None:
    if ticket.deadline is not None and ticket.deadline <= monotonic():
        raise _too_late(ticket)


def _too_late(ticket: Ticket) -> DeadlineExceeded:
    return DeadlineExceeded("The endpoint's time is over.", extensions={"policy": ticket.name})
