"""Processes for jobs that need the processor, so that the worker's loop never waits for one."""

import asyncio
import atexit
import contextlib
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import structlog

from app.core.errors import ConfigurationError
from app.core.jobs._errors import HandlerFailed
from app.core.jobs._job import Job
from app.core.jobs._records import ClaimedJob
from app.core.jobs._run import Reports
from app.core.jobs.pool._child import WORKERS_SIGNALS, Manner, find_job
from app.core.jobs.pool._process import CONTEXT, PoolProcess, launch
from app.core.observability import log_manner
from app.core.resilience import doubled_pause

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_FIRST = "app.core.jobs.pool._one_thread"
_CHILD = "app.core.jobs.pool._child"
_START_LIMIT_S = 60.0
_BURY_LIMIT_S = 5.0


class ProcessPool:
    """Runs plain jobs in ``processes`` processes, one each at a time. Belongs to one event loop: ``start`` once, ``stop`` once.

    jobs: those that it must be able to run; async ones are passed over. jobs_per_process: after so many a process is replaced, so that what
    jobs leak has an end. nice: 0 to 19, how much less than the worker they get of the processor when others want it too.

    A process is a copy of one that has imported the jobs and nothing else: it has no connections, no providers and no settings. It dies
    with its worker, however that dies. Its standard output is the worker's standard error.

    Raises ConfigurationError for options out of range, and for jobs that another process does not find by their ``place``.
    """

    def __init__(
        self, jobs: Iterable[Job[Any]], processes: int, *, jobs_per_process: int = 1000, nice: int = 10
    ) -> None:
        for is_right, words in (
            (1 <= processes <= 256, "processes must be 1 to 256"),
            (jobs_per_process >= 1, "jobs_per_process must be 1 or more"),
            (0 <= nice <= 19, "nice must be 0 to 19"),
        ):
            if not is_right:
                raise ConfigurationError(f"A pool's {words}")
        self._modules = _modules_of([job for job in jobs if job.in_process])
        self._processes = processes
        self._jobs_per_process = jobs_per_process
        self._nice = nice
        self._members: set[PoolProcess] = set()
        self._idle: asyncio.Queue[PoolProcess | None] = asyncio.Queue()  # None: there will be no more
        self._slots: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._hands: ThreadPoolExecutor | None = None

    @property
    def pids(self) -> list[int]:
        """The processes that are there now, ready or not, sorted."""
        return sorted(member.pid for member in self._members)

    async def start(self) -> None:
        """Have the processes started, and return before they are there; without any job to run there are none."""
        if not self._modules:
            return
        self._hands = ThreadPoolExecutor(1, "job-processes", initializer=_shield)
        CONTEXT.set_forkserver_preload([_FIRST, _CHILD, *self._modules])
        # multiprocessing waits at exit for all that it has started.
        atexit.register(self._leave_none)
        self._slots = [asyncio.create_task(self._keep_one()) for _ in range(self._processes)]

    async def stop(self, limit_s: float = 10.0) -> None:
        """Start nothing more; let jobs in work end for ``limit_s`` seconds; kill the rest. To be called when the worker has stopped."""
        self._stopping.set()
        while not self._idle.empty():
            if (member := self._idle.get_nowait()) is not None:
                member.close()
        self._idle.put_nowait(None)
        if self._slots:
            _, late = await asyncio.wait(self._slots, timeout=limit_s)
            if late:
                self._kill_all()
            await asyncio.gather(*self._slots)
        if self._hands is not None:
            self._hands.shutdown(wait=False)
            atexit.unregister(self._leave_none)

    async def run(self, job: Job[Any], claimed: ClaimedJob, reports: Reports) -> bytes | None:
        """The job's result as JSON; None for none. Waits for a process that has nothing to do. A cancellation kills the process, and
        another takes its place.

        Raises JobFailed and JobRejected of the job, with their detail; HandlerFailed for every other error, whose traceback is then in the
        log, and, with the kind ``ProcessDied``, when the process ended by itself, or ``PoolStopped`` when none came any more.
        """
        if job.function.__module__ not in self._modules:
            raise ConfigurationError(f"The pool was not told of the job {job.name}")
        member = await self._take()
        try:
            return await member.run(job, claimed, reports)
        finally:
            if member.jobs >= self._jobs_per_process or self._stopping.is_set():
                member.close()
            elif not member.ended.is_set():
                self._idle.put_nowait(member)

    async def _take(self) -> PoolProcess:
        """One that has nothing to do, when there is one."""
        while (member := await self._idle.get()) is not None:
            if not member.ended.is_set():
                return member
        self._idle.put_nowait(None)  # for the next who waits
        raise HandlerFailed("PoolStopped")

    async def _keep_one(self) -> None:
        """One place in the pool: always a process in it."""
        failures = 0
        while not self._stopping.is_set():
            try:
                member = await self._begin()
            except Exception as error:  # noqa: BLE001 - the outermost frame of a loop that must not end
                failures += 1
                if not self._stopping.is_set():
                    _log.warning("jobs.process_not_started", error=type(error).__name__, reason=str(error))
                await self._pause(doubled_pause(0.1, failures, 10.0))
                continue
            failures = 0
            await self._mind(member)

    async def _begin(self) -> PoolProcess:
        """A process that is ready for jobs."""
        process, ours = await self._by_hand(
            lambda: launch(Manner(self._nice, (_FIRST, *self._modules), log_manner()))
        )
        member = PoolProcess(process)
        self._members.add(member)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: member, sock=ours)
            async with asyncio.timeout(_START_LIMIT_S):
                await member.ready
        except BaseException:
            member.kill()
            await self._bury(member)
            raise
        return member

    async def _mind(self, member: PoolProcess) -> None:
        """Until it has ended."""
        if self._stopping.is_set():
            member.close()
        else:
            self._idle.put_nowait(member)
        await member.ended.wait()
        await self._bury(member)

    async def _bury(self, member: PoolProcess) -> None:
        code = await self._by_hand(lambda: member.bury(_BURY_LIMIT_S))
        self._members.discard(member)
        if not member.was_ended:
            _log.warning("jobs.process_ended", pid=member.pid, exit_code=code)

    async def _by_hand(self, work: Callable[[], T]) -> T:
        """In the one thread that starts processes and waits for their end, both of which block."""
        return await asyncio.get_running_loop().run_in_executor(self._hands, work)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _kill_all(self) -> None:
        for member in tuple(self._members):
            member.kill()

    def _leave_none(self) -> None:
        for member in self._members:
            member.kill_at_exit()


def _modules_of(jobs: list[Job[Any]]) -> tuple[str, ...]:
    """Where other processes find them."""
    for job in jobs:
        if job.place.startswith("__main__:"):
            raise ConfigurationError(f"The job {job.name} is declared in a script: put it in a module")
        if find_job(job.place, job.name) is not job:
            raise ConfigurationError(f"Two jobs of the name {job.name}")
    return tuple(dict.fromkeys(job.function.__module__ for job in jobs))


def _shield() -> None:
    """What this thread starts, the server of processes above all, is deaf to the signals that stop a service: its processes go when the
    worker lets them go. Starting the tracker unblocks signals, so it comes first.
    """
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, WORKERS_SIGNALS)
