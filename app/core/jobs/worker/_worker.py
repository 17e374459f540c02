"""The worker: has jobs taken in, runs them, gives signs of life, and stops in steps."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app.core.errors import Unavailable
from app.core.jobs._broker import JobBroker
from app.core.jobs._job import Catalog
from app.core.jobs._records import ClaimedJob, Outcome, Progress, WorkerInfo
from app.core.jobs._store import JobStore
from app.core.jobs.worker._doubts import Doubts
from app.core.jobs.worker._execution import Execution
from app.core.jobs.worker._finisher import Finisher
from app.core.jobs.worker._in_work import InWork
from app.core.jobs.worker._intake import Intake
from app.core.jobs.worker._options import WorkerOptions
from app.core.jobs.worker._places import JobPlaces
from app.core.jobs.worker._relay import Relay
from app.core.jobs.worker._verdict import broken
from app.core.resilience import Clock, SystemClock

_log = structlog.get_logger(__name__)
_PARK_S = 60.0
_LEAVE_S = 5.0
_LATE_BEATS, _SILENT_BEATS = 5, 10


class Worker:
    """One worker in one event loop: ``start`` once, ``stop`` once. ``sleep``, ``rng`` (0 to 1) and ``clock`` are for tests."""

    def __init__(
        self,
        options: WorkerOptions,
        execution: Execution,
        *,
        catalog: Catalog,
        store: JobStore,
        broker: JobBroker,
        relay: Relay,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
        clock: Clock | None = None,
    ) -> None:
        self.options = options
        self._catalog = catalog
        self._store = store
        self._execution = execution
        self._relay = relay
        self._sleep = sleep
        self._rng = rng
        self.info = WorkerInfo(uuid7(), options.name, options.queues, options.concurrency, options.processes)
        self._finisher = Finisher(store, self.info.id)
        self._in_loop = JobPlaces(options.concurrency)
        self._in_processes = JobPlaces(max(1, options.processes))
        self._in_work: dict[UUID, InWork] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._is_stopping = False
        self._clock = clock or SystemClock()
        self._hurrying = False
        self._beaten_at: float | None = None
        self._trusts_from = 0.0
        self._doubts = Doubts(_SILENT_BEATS, self._clock)
        self._renewal = asyncio.Lock()
        self._intake = Intake(
            store,
            broker,
            wait_s=options.wait_s,
            worker=lambda: self.info.id,
            begin_anew=self._begin_anew,
            start=self._start,
            doubts=self._doubts,
            sleep=sleep,
            rng=rng,
        )

    async def start(self) -> None:
        """Say that we are there, then take jobs. Raises Unavailable while the database is away."""
        await self._store.enter(self.info)
        self._beaten_at = self._clock.monotonic()
        loops = [self._intake.feed(queue, self._places(queue)) for queue in self.options.queues]
        loops += [
            self._again(self.options.beat_s, self._beat, "jobs.beat_failed"),
            self._again(self.options.publish_s, self._relay.publish, "jobs.relay_failed"),
            self._again(self.options.recover_s, self._recover, "jobs.recovery_failed"),
            self._again(self.options.recover_s * 3, self._relay.find_lost, "jobs.lost_and_found_failed"),
            self._again(self.options.recover_s * 2, self._take_stale, "jobs.stale_failed"),
        ]
        self._loops = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """Take no more; let what is in work end for ``grace_s`` seconds; cancel the rest, which is queued again; write it all; leave."""
        self._is_stopping = True
        self._intake.close()
        self._in_loop.close()
        self._in_processes.close()
        self._beaten_at = None
        if not self._loops:
            return
        feeds = self._loops[: len(self.options.queues)]
        await asyncio.gather(*feeds, return_exceptions=True)
        if (tasks := self._tasks()) and not self._hurrying:
            await asyncio.wait(tasks, timeout=self.options.grace_s)
        await self._cancel_all("stop")
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._intake.done()
        try:
            if not await self._finisher.flush(_LEAVE_S):
                _log.warning("jobs.ends_not_written", worker=self.options.name)
            await self._store.leave(self.info.id)
        except Unavailable as error:  # What it held is taken from it when it has been silent for long enough.
            _log.warning("jobs.not_left", worker=self.options.name, error=type(error).__name__)

    async def ping(self) -> None:
        """Whether it takes jobs. Raises Unavailable: it has not started, is stopping, or gave no sign of life for 10 beats."""
        limit_s = _SILENT_BEATS * self.options.beat_s
        if self._beaten_at is None or self._clock.monotonic() - self._beaten_at > limit_s:
            raise Unavailable("The worker takes no jobs")

    def hurry(self) -> None:
        """While ``stop`` waits: jobs in work get no more time."""
        # Until the queues are no longer read, one that was given back may come again.
        self._hurrying = True
        for one in self._in_work.values():
            self._cancel(one, "stop")

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [one.task for one in self._in_work.values() if one.task is not None]

    async def _cancel_all(self, reason: str, limit_s: float | None = None) -> None:
        """Cancel everything in work, and wait for its end, at most ``limit_s`` seconds."""
        tasks = self._tasks()
        for one in self._in_work.values():
            self._cancel(one, reason)
        if tasks:
            await asyncio.wait(tasks, timeout=limit_s)

    def _cancel(self, one: InWork, reason: str) -> None:
        if not one.reason and one.task is not None:
            one.reason = reason
            one.task.cancel()

    async def _again(self, every_s: float, work: Callable[[], Awaitable[object]], event: str) -> None:
        while True:
            await self._sleep(every_s * (0.9 + 0.2 * self._rng()))
            try:
                await work()
            except Unavailable as error:
                _log.warning(event, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - the outermost frame of a loop that must not end
                _log.exception(event)

    def _places(self, queue: str) -> JobPlaces:
        """A queue with jobs for the pool is read no quicker than the pool works."""
        needs_pool = any(job.in_process for job in self._catalog if job.options.queue == queue)
        return self._in_processes if needs_pool else self._in_loop

    async def _take_stale(self) -> None:
        for queue in self.options.queues:
            await self._intake.take_stale(queue, self._places(queue))

    def _start(self, claimed: ClaimedJob, worker: UUID, places: JobPlaces) -> None:
        one = InWork(claimed, worker)
        self._in_work[claimed.id] = one
        one.task = asyncio.create_task(self._work(one, places))

    async def _work(self, one: InWork, places: JobPlaces) -> None:
        claimed = one.claimed
        try:
            job = self._catalog.get(claimed.name)
            outcome = (
                await self._execution.run(job, claimed, one.worker, one.reports)
                if job
                else self._parked(claimed)
            )
        except asyncio.CancelledError:
            outcome = self._cancelled(one)
        except Exception:  # noqa: BLE001 - the outermost frame of a job that must not stay in work for ever
            _log.exception("jobs.attempt_broke", job=claimed.name, job_id=str(claimed.id))
            outcome = broken(claimed)
        finally:
            # It may have been lost, and be in work again while this attempt was ending.
            if self._in_work.get(claimed.id) is one:
                del self._in_work[claimed.id]
            places.give_back()
        if outcome is not None:
            self._finisher.add(outcome)

    async def _beat(self) -> None:
        running = list(self._in_work)
        queues = [one.claimed.queue for one in self._in_work.values()]
        self._execution.reporter.in_work(self.options.queues, queues)
        info = self.info
        answer = await self._store.beat(info, running, self._progress(), self._doubts.ids())
        if not self._is_stopping:
            self._note_beat()
        if not answer.is_known:
            await self._begin_anew(info.id)
            return
        for job_id in answer.cancelled:
            if (one := self._in_work.get(job_id)) is not None:
                self._cancel(one, "cancelled")
        known = {*self._in_work, *(job_id for job_id in answer.own if job_id in self._finisher)}
        if lost := self._doubts.confirmed(answer.own, known):
            _log.warning("jobs.claims_not_heard_of", worker=self.options.name, jobs=len(lost))
            await self._store.give_back(info.id, lost)

    def _note_beat(self) -> None:
        """After a pause of our own we say nothing of others for a while: the database may have been away, for them too."""
        now, beat_s = self._clock.monotonic(), self.options.beat_s
        if self._beaten_at is not None and now - self._beaten_at > _LATE_BEATS * beat_s:
            self._trusts_from = now + _SILENT_BEATS * beat_s
        self._beaten_at = now

    async def _recover(self) -> None:
        now = self._clock.monotonic()
        is_heard = self._beaten_at is not None and now - self._beaten_at <= _LATE_BEATS * self.options.beat_s
        if is_heard and now >= self._trusts_from:
            await self._relay.recover(self.info.id)

    async def _begin_anew(self, former: UUID) -> None:
        """Under the name ``former`` we were silent for too long: our jobs are somebody else's. End them, and come back under another."""
        async with self._renewal:
            if self.info.id != former:  # somebody else has noticed, too
                return
            _log.warning("jobs.worker_was_given_up", worker=self.options.name, jobs=len(self._in_work))
            new = self.info._replace(id=uuid7())
            await self._store.enter(new)
            # What is claimed from here on is ours; what was before ends below.
            finisher, self.info, self._finisher = self._finisher, new, Finisher(self._store, new.id)
            # One that will not end must not keep us from giving signs of life.
            await self._cancel_all("lost", _LEAVE_S)
            await finisher.flush(_LEAVE_S)

    def _parked(self, claimed: ClaimedJob) -> Outcome:
        """Nobody here knows its name: perhaps a newer worker does. It waits, and is not one attempt the poorer."""
        self._execution.reporter.tell(claimed, "parked", 0.0)
        words = f"No worker knows a job {claimed.name!r}."
        return Outcome(claimed.id, claimed.attempt, "queued", error=words, delay_s=_PARK_S, is_attempt=False)

    def _cancelled(self, one: InWork) -> Outcome | None:
        claimed, reporter = one.claimed, self._execution.reporter
        if one.reason == "cancelled":
            reporter.tell(claimed, "cancelled", one.reports.started)
            return Outcome(claimed.id, claimed.attempt, "cancelled", is_followed=claimed.is_followed)
        if one.reason == "lost":
            reporter.tell(claimed, "lost", one.reports.started)
            return None
        reporter.tell(claimed, "returned", one.reports.started)
        return Outcome(claimed.id, claimed.attempt, "queued", is_attempt=False)

    def _progress(self) -> list[Progress]:
        told = []
        for one in self._in_work.values():
            if (fraction := one.reports.fraction) is not None:
                told.append(Progress(one.claimed.id, one.claimed.attempt, fraction, one.reports.note))
                one.reports.fraction = None
        return told
