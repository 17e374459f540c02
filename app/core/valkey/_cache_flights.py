"""Work that several callers in this process wait for: done once, and not at the mercy of the one who asked first."""

import asyncio
from collections.abc import Awaitable, Hashable
from typing import Any, Final, final

LATE: Final = object()
"""What ``Flight.join`` gives when the work is not done in time."""


class Abandoned(Exception):
    """The work was cancelled, and not its waiting caller."""


@final
class Flight:
    """One piece of work under way.

    ``is_orphan``: the caller who began it has gone, so what it uses of his (a database session) may be closed. ``outlives``: it goes
    on when nobody waits, as a refresh in the background does; other work is cancelled then, as it would be without a cache.
    """

    __slots__ = ("is_orphan", "is_over_time", "outlives", "task", "waiters")

    def __init__(self, task: asyncio.Task[Any], *, outlives: bool) -> None:
        self.task = task
        self.outlives = outlives
        self.waiters = 0
        self.is_orphan = False
        self.is_over_time = False

    async def join(self, timeout: float | None, *, is_first: bool = False) -> Any:  # noqa: ASYNC109 - LATE, not an error
        """The result, or ``LATE`` after ``timeout`` seconds. Raises what the work raised, ``Abandoned`` if it was cancelled."""
        self.waiters += 1
        try:
            await asyncio.wait({self.task}, timeout=timeout)
        except asyncio.CancelledError:
            self.is_orphan |= is_first
            await self._leave()
            raise
        await self._leave()
        if not self.task.done():
            return LATE
        if self.task.cancelled():
            raise Abandoned
        return self.task.result()

    async def _leave(self) -> None:
        self.waiters -= 1
        if self.is_idle and not self.task.done() and (self.is_over_time or not self.outlives):
            self.task.cancel()
            # Its caller goes away and closes what the work still uses, so the work has to end before.
            await asyncio.wait({self.task})

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for it."""
        return self.waiters == 0


@final
class Flights:
    """The work under way in this process, by name."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Flight] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def find(self, name: Hashable) -> Flight | None:
        """The work under this name that may be joined."""
        return self._known.get(name)

    def start(self, name: Hashable, work: Awaitable[Any], *, outlives: bool, seconds: float) -> Flight:
        """Begin the work as a task of its own.

        After ``seconds`` it can no longer be joined, so that a hanging one does not hold up all callers for ever, and ends if nobody
        waits for it.
        """
        task = asyncio.ensure_future(_run(work))
        flight = self._known[name] = Flight(task, outlives=outlives)
        self._tasks.add(task)
        timer = asyncio.get_running_loop().call_later(seconds, self._overtime, name, flight)
        task.add_done_callback(lambda _: self._landed(name, flight, timer))
        return flight

    def _landed(self, name: Hashable, flight: Flight, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._tasks.discard(flight.task)
        self._forget(name, flight)
        if not flight.task.cancelled():
            flight.task.exception()  # marks it as seen: it may be that nobody waits any more

    def _overtime(self, name: Hashable, flight: Flight) -> None:
        flight.is_over_time = True
        self._forget(name, flight)
        if flight.is_idle:
            flight.task.cancel()

    def _forget(self, name: Hashable, flight: Flight) -> None:
        if self._known.get(name) is flight:
            del self._known[name]

    async def close(self) -> None:
        """Cancel all of it, and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _run(work: Awaitable[Any]) -> Any:
    return await work
