"""Writes how attempts ended: those of one moment together, again until the database has them."""

import asyncio
from uuid import UUID

import structlog

from app.core.db import SerializationFailure
from app.core.errors import Unavailable
from app.core.jobs._records import Outcome
from app.core.jobs._store import JobStore
from app.core.resilience import doubled_pause

_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_REFUSED_S = 30.0
_MAY_PASS = (Unavailable, SerializationFailure)
_log = structlog.get_logger(__name__)


class Finisher:
    """The outcomes of one worker. While the database is away they wait here; if the process dies meanwhile, the jobs are run again.

    ``most``: outcomes in one statement. Belongs to one event loop.
    """

    def __init__(self, store: JobStore, worker: UUID, *, most: int = 500) -> None:
        self._store = store
        self._worker = worker
        self._most = most
        self._waiting: list[Outcome] = []
        self._task: asyncio.Task[None] | None = None
        self._unwritten: set[UUID] = set()
        self._timers: list[asyncio.TimerHandle] = []

    def __contains__(self, job_id: UUID) -> bool:
        """Whether the end of this job is still to be written."""
        return job_id in self._unwritten

    def add(self, outcome: Outcome) -> None:
        """Write it soon. Returns at once."""
        self._waiting.append(outcome)
        self._unwritten.add(outcome.job_id)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def flush(self, limit_s: float | None = None) -> bool:
        """Wait until all of it is written; whether it is. What is not after ``limit_s`` seconds is given up, and what the database refuses:
        those jobs run again.
        """
        while (task := self._task) is not None and not task.done():
            done, _ = await asyncio.wait([task], timeout=limit_s)
            if not done:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return self._end(is_written=False)
        return self._end(is_written=not self._unwritten)

    def _end(self, *, is_written: bool) -> bool:
        for timer in self._timers:
            timer.cancel()
        return is_written

    async def _run(self) -> None:
        failures = 0
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                await self._write(batch)
                failures = 0
            except _MAY_PASS as error:
                self._waiting = batch + self._waiting
                _log.warning("jobs.not_finished", jobs=len(batch), error=type(error).__name__)
                await asyncio.sleep(doubled_pause(_PAUSE_S, failures, _LONGEST_PAUSE_S))
                failures += 1

    async def _write(self, batch: list[Outcome]) -> None:
        try:
            counted = await self._store.finish(self._worker, batch)
        except _MAY_PASS:
            raise
        except Exception:  # noqa: BLE001 - one that the database refuses must not keep the others from being written
            if len(batch) == 1:
                _log.exception("jobs.outcome_refused", job_id=str(batch[0].job_id))
                await self._write_refused(batch[0])
                return
            for outcome in batch:
                await self._write([outcome])
            return
        self._unwritten.difference_update(one.job_id for one in batch)
        if lost := [str(one.job_id) for one in batch if one.job_id not in counted]:
            _log.warning("jobs.claim_lost", jobs=lost[:20], count=len(lost))

    async def _write_refused(self, outcome: Outcome) -> None:
        """Write it with nothing in it that could be the reason: a job must not stay in work for ever. If the reason is not in it, such as a
        ledger that is broken, try again and again.
        """
        plain = outcome._replace(
            status="failed" if outcome.status == "succeeded" else outcome.status,
            result=None,
            error="Its end cannot be stored.",
            cost_micro=None,
            delay_s=_REFUSED_S if outcome.status == "queued" else 0.0,
        )
        try:
            await self._store.finish(self._worker, [plain])
        except _MAY_PASS:
            raise
        except Exception:  # noqa: BLE001 - as above
            _log.exception("jobs.outcome_refused_again", job_id=str(outcome.job_id), again_s=_REFUSED_S)
            loop = asyncio.get_running_loop()
            self._timers = [timer for timer in self._timers if timer.when() > loop.time()]
            self._timers.append(loop.call_later(_REFUSED_S, self.add, outcome))
        else:
            self._unwritten.discard(outcome.job_id)
