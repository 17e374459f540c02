"""Waiting for jobs: one question to the database for all who wait in this process."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias
from uuid import UUID

from app.builtin.jobs.repository import JobState
from app.core.errors import PolicyRejected, Unavailable
from app.core.resilience import Clock

Read: TypeAlias = Callable[[Sequence[UUID]], Awaitable[dict[UUID, JobState]]]
_READ_S = 5.0


class TooManyWaits(PolicyRejected):
    """This caller waits for as many jobs as one may at a time."""


class WatchIsFull(Unavailable):
    """This process holds as many waits as it may; asking without waiting is answered."""


class Watching:
    """One who waits for one job: ``known`` is how it stood when he last looked. Made by ``JobWatch.watching``."""

    def __init__(self, known: JobState, until: float) -> None:
        self.known = known
        self.until = until
        self._latest: JobState | None = known
        self._is_over = False
        self._error: Exception | None = None
        self._told = asyncio.Event()

    async def next(self) -> JobState | None:
        """How the job stands, as soon as that is not what he knows; what changed several times meanwhile is told once. None: the wait is
        over, the process stops, or the job is not there any more.

        Raises Unavailable while the database does not answer.
        """
        await self._told.wait()
        self._told.clear()
        if self._error is not None:
            raise self._error
        if self._latest is None or self._latest == self.known:
            return None
        self.known = self._latest
        if self._is_over:
            self._told.set()
        return self.known

    def tell(self, state: JobState | None, *, is_over: bool) -> None:
        """What was read; ``is_over``: nothing comes after it."""
        self._latest, self._is_over = state, is_over or state is None
        if self._is_over or state != self.known:
            self._told.set()

    def fail(self, error: Exception) -> None:
        """Nothing could be read."""
        self._error = error
        self._told.set()


Asked: TypeAlias = Mapping[UUID, Sequence[Watching]]


class JobWatch:
    """All who wait for jobs in this process. It asks ``read`` every ``every_s`` seconds while there are any, and not otherwise; they hold
    no connection meanwhile. At most ``most`` wait in the process, ``most_each`` for one caller. ``is_draining``: whether the process is on
    its way out, when nobody waits any longer. Belongs to one event loop.
    """

    def __init__(
        self,
        read: Read,
        *,
        clock: Clock,
        is_draining: Callable[[], bool],
        most: int = 500,
        most_each: int = 16,
        every_s: float = 0.2,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._read = read
        self._clock = clock
        self._is_draining = is_draining
        self._most = most
        self._most_each = most_each
        self._every_s = every_s
        self._sleep = sleep
        self._callers: Counter[str] = Counter()
        self._watched: defaultdict[UUID, set[Watching]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return self._callers.total()

    @contextmanager
    def seat(self, caller: str) -> Iterator[None]:
        """A place among those who may wait, held for the block. Raises WatchIsFull (503), TooManyWaits (429)."""
        if self._callers.total() >= self._most:
            raise WatchIsFull("Too many wait for jobs just now: ask again without waiting.", retry_after=2)
        if self._callers[caller] >= self._most_each:
            raise TooManyWaits(
                f"One caller may wait for {self._most_each} jobs at a time.",
                violated=("job_waits",),
                retry_after=2,
            )
        self._callers[caller] += 1
        try:
            yield
        finally:
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]

    @contextmanager
    def watching(self, job_id: UUID, known: JobState, wait_s: float) -> Iterator[Watching]:
        """Wait for a job for up to ``wait_s`` seconds, to the next question after that. Take a ``seat`` before."""
        one = Watching(known, self._clock.monotonic() + wait_s)
        self._watched[job_id].add(one)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield one
        finally:
            self._watched[job_id].discard(one)
            if not self._watched[job_id]:
                del self._watched[job_id]

    async def close(self) -> None:
        """Ask no more. Nobody waits by then: requests have ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._watched:
            await self._sleep(self._every_s)
            if not self._watched:
                return
            # Those who come while it is asked are not answered: to them it would say that their jobs are gone.
            asked = {job_id: tuple(watchers) for job_id, watchers in self._watched.items()}
            try:
                async with asyncio.timeout(_READ_S):
                    states = await self._read(list(asked))
            except TimeoutError:
                _fail(asked, Unavailable("The database does not say how the job stands.", retry_after=2))
            except Exception as error:  # noqa: BLE001 - raised again by those who wait, each in his own request
                _fail(asked, error)
            else:
                self._tell(asked, states)

    def _tell(self, asked: Asked, states: dict[UUID, JobState]) -> None:
        now, stops = self._clock.monotonic(), self._is_draining()
        for job_id, watchers in asked.items():
            state = states.get(job_id)
            for one in watchers:
                one.tell(state, is_over=stops or now >= one.until)


def _fail(asked: Asked, error: Exception) -> None:
    for watchers in asked.values():
        for one in watchers:
            one.fail(error)
