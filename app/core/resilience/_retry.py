"""Trying again: which errors may pass, how long to wait, when to stop. One decision for coroutines and for threads."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from app.core.errors import ConfigurationError, DeadlineExceeded, PolicyRejected
from app.core.resilience._budget import RetryBudget
from app.core.resilience._clock import Clock, SystemClock

R = TypeVar("R")

_UNKNOWN = ("08007", "40003")  # SQLSTATE: the server cannot say how the transaction ended.
_TRANSIENT_CLASSES = ("08", "40", "53", "57")


class AttemptTimeout(DeadlineExceeded):
    """One attempt took longer than it may; another may follow while the endpoint's time lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """``attempts`` in all. The wait before attempt n+1 is random in 0 to ``min(cap, base * factor**(n-1))`` seconds.

    ``exceptions``: classes that are tried again; None: what ``is_transient`` says.
    """

    attempts: int = 3
    base: float = 0.1
    cap: float = 5.0
    factor: float = 2.0
    exceptions: tuple[type[Exception], ...] | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.base <= self.cap or self.factor < 1:
            raise ValueError("attempts must be 1 or more, 0 <= base <= cap, factor 1 or more")


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help: a status of 500 or more, a timeout, a lost connection, a lost race in the database.

    Never for cancellation, for a policy's refusal, for the end of all time, for a program that is put together wrongly, or for a commit
    whose outcome is unknown.
    """
    is_refusal = isinstance(error, (PolicyRejected, ConfigurationError))
    if is_refusal or not isinstance(error, Exception) or is_outcome_unknown(error):
        return False
    if isinstance(error, DeadlineExceeded):
        return isinstance(error, AttemptTimeout)
    if getattr(error, "connection_invalidated", False):
        return True  # SQLAlchemy: the connection broke
    code = getattr(getattr(error, "orig", error), "sqlstate", None)
    if isinstance(code, str):
        return code[:2] in _TRANSIENT_CLASSES
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    if isinstance(status, int):
        return status >= 500
    return isinstance(error, (TimeoutError, ConnectionError))


def is_outcome_unknown(error: BaseException) -> bool:
    """Whether the work may have been done all the same, so that doing it again could do it twice. Stronger than ``exceptions``."""
    code = getattr(getattr(error, "orig", error), "sqlstate", None)
    return getattr(error, "is_outcome_unknown", False) is True or code in _UNKNOWN


class Retrier:
    """For one name: runs a call, and again after failures that may pass, within a deadline and a budget.

    ``rng`` returns 0 to 1. ``report`` is told what followed each failure: retried, exhausted, no_budget, no_time or final.
    Cancellation is never tried again.
    """

    def __init__(
        self,
        rules: RetryRules,
        *,
        budget: RetryBudget | None = None,
        clock: Clock | None = None,
        rng: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        sleep_in_thread: Callable[[float], object] = time.sleep,
        report: Callable[[str], None] = lambda _verdict: None,
    ) -> None:
        self.rules = rules
        self._clock = clock or SystemClock()
        self._budget = budget or RetryBudget(clock=self._clock)
        self._rng = rng
        self._sleep = sleep
        self._sleep_in_thread = sleep_in_thread
        self._report = report

    async def run(
        self,
        call: Callable[[int], Awaitable[R]],
        *,
        deadline: float | None = None,
        may_repeat: Callable[[Exception], bool] = lambda _error: True,
    ) -> R:
        """The result of the first attempt that succeeds; ``call`` is given the attempt's number, from 1.

        ``deadline`` is a reading of the clock's monotonic time. ``may_repeat`` is asked after each failure. Raises the last error.
        """
        self._budget.deposit()
        for attempt in count(1):
            try:
                return await call(attempt)
            except Exception as error:
                wait = self._wait_s(attempt, error, deadline) if may_repeat(error) else self._stop("final")
                if wait is None:
                    raise
            await self._sleep(wait)
        raise AssertionError  # for the type checker: count does not end

    def run_in_thread(
        self,
        call: Callable[[], R],
        *,
        deadline: float | None = None,
        may_repeat: Callable[[Exception], bool] = lambda _error: True,
    ) -> R:
        """``run`` for a plain function. The waits block the thread: never on an event loop's."""
        self._budget.deposit()
        for attempt in count(1):
            try:
                return call()
            except Exception as error:
                wait = self._wait_s(attempt, error, deadline) if may_repeat(error) else self._stop("final")
                if wait is None:
                    raise
            self._sleep_in_thread(wait)
        raise AssertionError  # for the type checker: count does not end

    def _wait_s(self, attempt: int, error: Exception, deadline: float | None) -> float | None:
        """Seconds until the next attempt; None when there is none."""
        if not self._is_retried(error):
            return self._stop("final")
        if attempt >= self.rules.attempts:
            return self._stop("exhausted")
        wait = self._rng() * min(self.rules.cap, self.rules.base * self.rules.factor ** (attempt - 1))
        asked = getattr(error, "retry_after", None)
        if isinstance(asked, (int, float)):
            if asked > self.rules.cap:
                return self._stop("no_time")
            wait += asked
        if deadline is not None and deadline - self._clock.monotonic() <= wait:
            return self._stop("no_time")
        if not self._budget.withdraw():
            return self._stop("no_budget")
        self._report("retried")
        return wait

    def _is_retried(self, error: Exception) -> bool:
        if is_outcome_unknown(error):
            return False
        if self.rules.exceptions is None:
            return is_transient(error)
        return isinstance(error, (AttemptTimeout, *self.rules.exceptions)) and not isinstance(
            error, PolicyRejected
        )

    def _stop(self, verdict: str) -> float | None:
        self._report(verdict)
        return None
