"""What surrounds a piece of work so that a failing dependency does not take everything with it.

    total deadline > retry > breaker > attempt timeout > bulkhead > the work

The deadline is outside, so that retries cannot outlast it. Retry is outside the breaker, so that each attempt is a call of its own to
the breaker, and an open one ends the retries. The attempt's timeout is inside the breaker, because a timeout is a failure of the
dependency; the bulkhead is innermost, so that nobody holds a place while waiting for the next attempt.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

from app.core.context import current_context
from app.core.errors import DeadlineExceeded
from app.core.observability import RetryEvent
from app.core.policies._circuit import CircuitOpen
from app.core.policies._concurrency import NoCapacity
from app.core.policies._guards import NEUTRAL, Guards, Watched
from app.core.policies._job_config import JobConfig
from app.core.policies._retry import Retry
from app.core.resilience import (
    AttemptTimeout,
    Breakers,
    Clock,
    Deadlines,
    Places,
    Retrier,
    RetryBudget,
    RetryRules,
    SystemClock,
    ThreadPlaces,
    deadline_at,
    earliest,
)

R = TypeVar("R")


class Attempt(Protocol):
    """What surrounds one attempt, for example a savepoint of the request's session."""

    async def __aenter__(self) -> Any:
        """Before the attempt."""

    async def __aexit__(self, *error: Any) -> bool | None:
        """After it; never swallows the error."""

    @property
    def is_repeatable(self) -> bool:
        """After a failure: whether another attempt would start from the same place."""


class Resilience:
    """Deadline, retry, breakers and bulkhead of one policy in one process; one event loop.

    Breakers are shared by ``breakers`` (ConfigurationError if their numbers differ from another endpoint's), the rest belongs to
    this name. Knows no HTTP: jobs use it too. ``rng`` returns 0 to 1. ``deadlines``: of the running loop, which cost less than a timer
    each.
    """

    def __init__(
        self,
        name: str,
        config: JobConfig,
        *,
        breakers: Breakers,
        clock: Clock | None = None,
        rng: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        sleep_in_thread: Callable[[float], object] = time.sleep,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.name = name
        self._deadlines = deadlines
        self._clock = clock or SystemClock()
        self._rng = rng
        self._guards = Guards(name, config.breakers, breakers=breakers, rng=rng)
        self._hub = breakers.hub
        retry = config.retry if config.retry is not None and config.retry.attempts > 1 else None
        self._attempts = retry.attempts if retry is not None else 1
        self._attempt_s = config.retry.attempt_timeout if config.retry is not None else None
        self._retrier = self._make_retrier(retry, sleep, sleep_in_thread) if retry is not None else None
        bulkhead = self._bulkhead = config.bulkhead
        self._places = Places(bulkhead.max, queue=bulkhead.queue) if bulkhead is not None else None
        self._threads = ThreadPlaces(bulkhead.max, queue=bulkhead.queue) if bulkhead is not None else None
        self.is_idle = not (self._guards or bulkhead or retry or self._attempt_s)

    def _make_retrier(
        self,
        retry: Retry,
        sleep: Callable[[float], Awaitable[object]],
        sleep_in_thread: Callable[[float], object],
    ) -> Retrier:
        rules = RetryRules(
            attempts=retry.attempts, base=retry.base, cap=retry.cap, exceptions=retry.exceptions
        )
        return Retrier(
            rules,
            budget=RetryBudget(retry.budget, clock=self._clock),
            clock=self._clock,
            rng=self._rng,
            sleep=sleep,
            sleep_in_thread=sleep_in_thread,
            report=self._report,
        )

    def _report(self, verdict: str) -> None:
        if self._hub is not None:
            self._hub.emit(RetryEvent(self.name, verdict))

    def open_circuit(self) -> CircuitOpen | None:
        """The refusal that a call made now would get from a breaker, or None. Takes no place and counts nothing."""
        return self._guards.open_circuit()

    async def run(
        self,
        call: Callable[[], Awaitable[R]],
        *,
        deadline: float | None = None,
        attempt: Callable[[], Attempt] | None = None,
    ) -> R:
        """The result of ``call``, tried again where the policy says so.

        ``deadline`` is a reading of the clock's monotonic time; the context's own counts if it is earlier. ``attempt`` makes what
        surrounds each attempt that may be followed by another. Raises the last error, CircuitOpen, NoCapacity or DeadlineExceeded.
        """
        known = current_context().deadline
        if self.is_idle and (deadline is None or deadline == known):
            return await self._before(known, call)
        deadline = earliest(deadline, known)
        if self._retrier is None:
            return await self._once(call, deadline, None)
        surrounding: Attempt | None = None

        async def once(number: int) -> R:
            nonlocal surrounding
            surrounding = attempt() if attempt is not None and number < self._attempts else None
            return await self._once(call, deadline, surrounding)

        return await self._retrier.run(
            once,
            deadline=deadline,
            may_repeat=lambda error: (
                not isinstance(error, NEUTRAL) and (surrounding is None or surrounding.is_repeatable)
            ),
        )

    async def _before(self, deadline: float | None, call: Callable[[], Awaitable[R]]) -> R:
        """Nothing but the deadline, which the context knows already: a worker of ten thousand jobs a second would feel the rest."""
        limit = self._limit_s(deadline)
        if limit is None or deadline is None:
            return await call()
        if self._deadlines is None:
            return await self._in_time(call, limit, None)
        watch = self._deadlines.watch(deadline)
        try:
            result = await call()
        except asyncio.CancelledError as error:
            if watch.finish():
                raise self._too_late(DeadlineExceeded) from error
            raise
        except BaseException:
            watch.finish()
            raise
        watch.finish()
        return result

    async def _once(
        self, call: Callable[[], Awaitable[R]], deadline: float | None, surrounding: Attempt | None
    ) -> R:
        limit = self._limit_s(deadline)
        with self._guards.watched() as watched:
            watched.result = result = await self._in_time(call, limit, surrounding)
        return result

    async def _in_time(
        self,
        call: Callable[[], Awaitable[R]],
        limit: float | None,
        surrounding: Attempt | None,
    ) -> R:
        has_begun = False
        ends = self._clock.monotonic() + limit if limit is not None else None
        timer = asyncio.timeout(limit)
        try:
            async with timer, self._place(limit):
                has_begun = True
                with deadline_at(ends):
                    async with surrounding or nullcontext():
                        return await call()
        except TimeoutError as error:
            if not timer.expired():
                raise
            if not has_begun:
                raise self._no_capacity() from error
            # An attempt's end may be followed by another attempt, the end of all time by nothing.
            kind = AttemptTimeout if limit == self._attempt_s else DeadlineExceeded
            raise self._too_late(kind) from error

    def run_in_thread(self, call: Callable[[], R], *, deadline: float | None = None) -> R:
        """``run`` for a plain function in a thread: no attempt can be cut off, waits hold the thread, nothing surrounds an attempt."""
        deadline = earliest(deadline, current_context().deadline)

        def once() -> R:
            with self.stream_in_thread(deadline) as watched:
                watched.result = result = call()
            return result

        if self._retrier is None:
            return once()
        return self._retrier.run_in_thread(
            once, deadline=deadline, may_repeat=lambda error: not isinstance(error, NEUTRAL)
        )

    @asynccontextmanager
    async def stream(self, deadline: float | None = None) -> AsyncIterator[None]:
        """Breakers and bulkhead around a stream; it cannot be tried again, and only its start has a deadline."""
        limit = self._limit_s(deadline)
        with self._guards.watched():
            async with self._place(limit):
                yield

    @contextmanager
    def stream_in_thread(self, deadline: float | None = None) -> Iterator[Watched]:
        """``stream`` for a plain generator in a thread."""
        limit = self._limit_s(deadline)
        with self._guards.watched() as watched:
            if self._threads is None or self._bulkhead is None:
                yield watched
                return
            if not self._threads.acquire(_least(self._bulkhead.queue_timeout, limit)):
                raise self._no_capacity()
            try:
                yield watched
            finally:
                self._threads.release()

    def _limit_s(self, deadline: float | None) -> float | None:
        """Seconds that an attempt started now may take. Raises DeadlineExceeded when the time is over: nothing is started."""
        if deadline is None:
            return self._attempt_s
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise self._too_late(DeadlineExceeded)
        return left if self._attempt_s is None else min(left, self._attempt_s)

    @asynccontextmanager
    async def _place(self, limit: float | None) -> AsyncIterator[None]:
        if self._places is None or self._bulkhead is None:
            yield
            return
        if not await self._places.acquire(_least(self._bulkhead.queue_timeout, limit)):
            raise self._no_capacity()
        try:
            yield
        finally:
            self._places.release()

    def _no_capacity(self) -> NoCapacity:
        return NoCapacity(
            "This endpoint has as much in hand as it takes.",
            retry_after=1 + int(self._rng() * 3),
            extensions={"policy": self.name, "reason": "bulkhead"},
        )

    def _too_late(self, kind: type[DeadlineExceeded]) -> DeadlineExceeded:
        detail = "One attempt took too long." if kind is AttemptTimeout else "The endpoint's time is over."
        return kind(detail, extensions={"policy": self.name})


def _least(seconds: float, limit: float | None) -> float:
    return seconds if limit is None else min(seconds, limit)
