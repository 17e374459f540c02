"""A circuit breaker that decides by rates over a rolling window, for dependencies that many handlers share.

closed ──(failure or slow rate reached)──> open ──(its time)──> half open ──k probes succeed──> closed
                                            ^                       └──one fails: twice as long──> open

The store client keeps ``CircuitBreaker``: it counts failures in a row, which is what a single connection needs.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Literal, get_args

from app.core.resilience._clock import Clock, SystemClock
from app.core.resilience._window import Window

BreakerMode = Literal["auto", "isolated", "metrics_only", "disabled"]
State = Literal["closed", "open", "half_open", "isolated"]

_JITTER = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """The numbers of a breaker; times in seconds, rates from 0 to 1. ``Breaker`` of the policies, which has them too, says what each is and
    checks them.
    """

    failure_rate: float = 0.5
    slow_after: float = 10.0
    slow_rate: float = 1.0
    window: float = 10.0
    min_calls: int = 20
    open_for: float = 5.0
    open_most: float = 60.0
    probes: int = 1
    probe_lease: float = 30.0


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A breaker as it stands: ``calls``, ``failures`` and ``slow`` of the window, seconds until it is tried again."""

    dependency: str
    state: State
    mode: BreakerMode
    calls: int
    failures: int
    slow: int
    retry_after_s: float


class Leave:
    """Leave to make one call. Give exactly one verdict; a caller that was cancelled says ``abandoned``.

    It belongs to the state in which it was given: a verdict that comes after the breaker has changed is dropped.
    """

    __slots__ = ("_breaker", "generation", "probe", "started")

    def __init__(self, breaker: "RollingBreaker", generation: int, probe: int | None, started: float) -> None:
        self._breaker = breaker
        self.generation = generation
        self.probe = probe
        self.started = started

    def succeeded(self) -> None:
        """The call was answered; how long it took is measured from the leave."""
        self._breaker.record(self, failed=False)

    def failed(self) -> None:
        """The call failed in a way that says the dependency is unwell."""
        self._breaker.record(self, failed=True)

    def abandoned(self) -> None:
        """No verdict: cancelled, or an error that says nothing about the dependency. Frees a probe's place."""
        self._breaker.forget(self)


class RollingBreaker:
    """Of one dependency in one process. Safe between threads; deciding takes microseconds and never waits.

    ``on_change`` is told the new and the former state. ``rng`` returns 0 to 1 and shortens each open period by up to a fifth, so that
    processes do not probe together. Not for errors that the caller caused: say ``abandoned`` for them.
    """

    def __init__(
        self,
        dependency: str,
        rules: BreakerRules | None = None,
        *,
        clock: Clock | None = None,
        rng: Callable[[], float] = random.random,
        on_change: Callable[[str, str, str], None] = lambda _dependency, _state, _former: None,
    ) -> None:
        self.dependency = dependency
        self.rules = rules or BreakerRules()
        self._clock = clock or SystemClock()
        self._rng = rng
        self._on_change = on_change
        self._lock = RLock()
        self._window = Window(self.rules.window)
        self._mode: BreakerMode = "auto"
        self._state: State = "closed"
        self._generation = 0
        self._open_until = 0.0
        self._open_s = 0.0
        self._closed_at = float("-inf")
        self._leases: dict[int, float] = {}
        self._good_probes = 0
        self._probes_given = 0

    def try_acquire(self) -> Leave | None:
        """Leave for one call, or None: then ``retry_after_s`` says when to come back."""
        with self._lock:
            now = self._clock.monotonic()
            if self._wait_s(now) > 0:
                return None
            probe = None
            if self._mode == "auto" and self._state != "closed":
                if self._state == "open":
                    self._enter("half_open")
                self._probes_given += 1
                probe = self._probes_given
                self._leases[probe] = now + self.rules.probe_lease
            return Leave(self, self._generation, probe, now)

    def retry_after_s(self) -> float:
        """Seconds until a call may be tried; 0 when one may be tried now. Takes no place."""
        if self._state == "closed" and self._mode != "isolated":
            return 0.0
        with self._lock:
            return self._wait_s(self._clock.monotonic())

    def set_mode(self, mode: BreakerMode) -> None:
        """``isolated`` refuses everything, ``disabled`` lets everything pass uncounted, ``metrics_only`` counts and refuses nothing,
        ``auto`` decides by itself. Each change starts from closed. Raises ValueError for another word.
        """
        if mode not in get_args(BreakerMode):
            raise ValueError(f"a breaker's mode is one of {', '.join(get_args(BreakerMode))}, not {mode!r}")
        with self._lock:
            if mode != self._mode:
                self._mode = mode
                self._open_s = 0.0
                self._enter("isolated" if mode == "isolated" else "closed")

    def isolate(self) -> None:
        """Refuse every call until ``close`` or ``set_mode``: somebody knows that the dependency must be left alone."""
        self.set_mode("isolated")

    def close(self) -> None:
        """Close now, forget what was counted, and decide by itself again."""
        with self._lock:
            self._mode = "auto"
            self._open_s = 0.0
            self._enter("closed")

    def snapshot(self) -> BreakerState:
        """For operators."""
        with self._lock:
            now = self._clock.monotonic()
            counts = self._window.totals(now)
            due = self._state == "open" and now >= self._open_until
            state: State = "half_open" if due else self._state
            return BreakerState(self.dependency, state, self._mode, *counts, self._wait_s(now))

    def record(self, leave: Leave, *, failed: bool) -> None:
        """Count a call's verdict. Called by ``Leave``."""
        with self._lock:
            now = self._clock.monotonic()
            if leave.generation != self._generation or self._mode in {"disabled", "isolated"}:
                return
            slow = now - leave.started >= self.rules.slow_after
            if leave.probe is None:
                self._window.add(now, failed=failed, slow=slow)
                self._judge(now)
            elif self._end_lease(leave.probe, now):
                if failed or slow:
                    self._open(now)
                    return
                self._good_probes += 1
                if self._good_probes >= self.rules.probes:
                    self._closed_at = now
                    self._enter("closed")

    def forget(self, leave: Leave) -> None:
        """Free a probe's place without a verdict. Called by ``Leave``."""
        with self._lock:
            if leave.probe is not None and leave.generation == self._generation:
                self._leases.pop(leave.probe, None)

    def _end_lease(self, probe: int, now: float) -> bool:
        """Whether the probe's verdict counts. One whose lease ran out lost its place, perhaps to another."""
        until = self._leases.pop(probe, None)
        return until is not None and until > now

    def _wait_s(self, now: float) -> float:
        if self._mode == "isolated":
            return self.rules.open_most
        if self._state == "closed" or self._mode != "auto":
            return 0.0
        if self._state == "open":
            return max(0.0, self._open_until - now)
        self._leases = {probe: until for probe, until in self._leases.items() if until > now}
        if len(self._leases) + self._good_probes < self.rules.probes:
            return 0.0
        return min(self._leases.values()) - now

    def _judge(self, now: float) -> None:
        rules, (calls, failures, slow) = self.rules, self._window.totals(now)
        if calls < rules.min_calls:
            return
        if failures < rules.failure_rate * calls and slow < rules.slow_rate * calls:
            return
        if self._mode == "metrics_only":
            self._window.clear()
            self._on_change(self.dependency, "would_open", "closed")
            return
        self._open(now)

    def _open(self, now: float) -> None:
        """Open; for longer each time, unless it had been closed for as long as it was last open."""
        steady = self._state == "closed" and now - self._closed_at >= self._open_s
        longer = self._open_s * 2 if self._open_s and not steady else self.rules.open_for
        self._open_s = min(longer, self.rules.open_most)
        self._open_until = now + self._open_s * (1 - _JITTER * self._rng())
        self._enter("open")

    def _enter(self, state: State) -> None:
        former, self._state = self._state, state
        self._generation += 1
        self._window.clear()
        self._leases = {}
        self._good_probes = 0
        if former != state:
            self._on_change(self.dependency, state, former)
