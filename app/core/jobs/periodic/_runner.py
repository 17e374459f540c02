"""Runs periodic work: one supervised loop each, one leader of all processes, a clean stop."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable

import structlog

from app.core.db import AdvisoryLocks, Database
from app.core.errors import ConfigurationError, Unavailable
from app.core.jobs.periodic._periodic import Periodic
from app.core.observability import EventHub, PeriodicEvent
from app.core.resilience import Clock, SystemClock, doubled_pause

_LONGEST_PAUSE_S = 60.0
_SPREAD = (
    random.SystemRandom().random
)  # not the shared generator: loops that draw from it at any time would disturb who seeded it
_log = structlog.get_logger(__name__)


class PeriodicRunner:
    """The loops of one process. Belongs to one event loop; ``start`` once, ``stop`` once.

    A run that fails is logged and tried again after a pause that doubles, from the task's period up to a minute (or the period, if that
    is longer); the loop never ends by itself. ``stop_limit_s``: seconds that runs in progress may still take when the process stops.
    ``sleep`` and ``rng`` (0 to 1) are for tests.
    """

    def __init__(
        self,
        database: Database,
        hub: EventHub,
        tasks: Iterable[Periodic],
        *,
        stop_limit_s: float = 10.0,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: Callable[[], float] | None = None,
    ) -> None:
        self._tasks = tuple(tasks)
        names = [task.name for task in self._tasks]
        if len(set(names)) != len(names):
            raise ConfigurationError(f"Two periodic tasks of one name: {', '.join(sorted(names))}")
        self._hub = hub
        self._locks = AdvisoryLocks(database)
        self._stop_limit_s = stop_limit_s
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._rng = rng or _SPREAD
        self._loops: list[asyncio.Task[None]] = []
        self._resting: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self) -> None:
        """Start the loops and return. The first runs come within one period, spread, so that processes do not start as one."""
        self._loops = [
            asyncio.create_task(self._live(task), name=f"periodic {task.name}") for task in self._tasks
        ]

    async def stop(self) -> None:
        """Start nothing more, give runs in progress ``stop_limit_s``, cancel what is left, give leadership back."""
        self._stopping = True
        for resting in tuple(self._resting):
            resting.cancel()
        if self._loops:
            _, late = await asyncio.wait(self._loops, timeout=self._stop_limit_s)
            for loop in late:
                loop.cancel()
            await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        await self._locks.release()

    async def _live(self, task: Periodic) -> None:
        pause, failures = task.every_s * self._rng(), 0
        while not self._stopping:
            await self._rest(pause)  # stop() cancels here
            failures = 0 if await self.run_once(task) else failures + 1
            longest = max(task.every_s, _LONGEST_PAUSE_S)
            pause = doubled_pause(task.every_s, failures, longest) * (0.9 + 0.2 * self._rng())

    async def _rest(self, seconds: float) -> None:
        loop = asyncio.current_task()
        assert loop is not None  # noqa: S101 - we are in the task that start() made
        self._resting.add(loop)
        try:
            await self._sleep(seconds)
        finally:
            self._resting.discard(loop)

    async def run_once(self, task: Periodic) -> bool:
        """One turn: take the lead or leave it to another, work, report. False when it failed. Never raises but for a cancellation."""
        started = self._clock.monotonic()
        leads, outcome = not task.leader, "ok"
        try:
            async with asyncio.timeout(task.limit_s):
                leads = leads or await self._locks.hold(task.name)
                if leads:
                    await task.work()
                else:
                    outcome = "standby"
        except (Unavailable, TimeoutError) as error:
            outcome = "failed"
            _log.warning("periodic.failed", task=task.name, error=type(error).__name__, reason=str(error))
        except Exception:  # noqa: BLE001 - the outermost frame of a loop that must not end
            outcome = "failed"
            _log.exception("periodic.failed", task=task.name)
        self._hub.emit(PeriodicEvent(task.name, outcome, self._clock.monotonic() - started, leads))
        return outcome != "failed"
