"""One attempt at one job: under the policy engine, from its arguments to its outcome. Raises nothing but a cancellation."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

from opentelemetry.trace import Tracer

from app.core.context import Principal, RequestContext, reset_context, set_context
from app.core.db import Database, get_db_context
from app.core.errors import ConfigurationError
from app.core.jobs._errors import ClaimLost, HandlerFailed
from app.core.jobs._job import Job
from app.core.jobs._records import ClaimedJob, Outcome
from app.core.jobs._run import JobRun, Reports
from app.core.jobs._store import JobStore
from app.core.jobs.worker._reporter import JobReporter
from app.core.jobs.worker._submitters import SubmitterGone, Submitters
from app.core.jobs.worker._verdict import Verdict, verdict_on
from app.core.observability import EventHub, job_span
from app.core.policies import Engine

SYSTEM = Principal("system")
"""On whose behalf jobs run that nobody submitted: it has no roles and no scopes."""


class Processes(Protocol):
    """Runs plain jobs in processes of their own: a ``ProcessPool``."""

    async def run(self, job: Job[Any], claimed: ClaimedJob, reports: Reports) -> bytes | None:
        """The result as JSON. A cancellation ends the process. Raises JobFailed, and HandlerFailed for everything else."""


class RunReports:
    """What a run has said about itself so far. ``started``: a reading of the monotonic clock; ``has_begun``: its policy let it in, so the
    handler may have had effects.
    """

    __slots__ = ("cost_micro", "fraction", "has_begun", "note", "started")

    def __init__(self) -> None:
        self.started = 0.0
        self.has_begun = False
        self.fraction: float | None = None
        self.note: str | None = None
        self.cost_micro: int | None = None

    def progress(self, fraction: float, note: str | None) -> None:
        """Keep it for the next sign of life."""
        self.fraction, self.note = fraction, note

    def cost(self, micro: int) -> None:
        """What the job costs in the end."""
        self.cost_micro = micro


class Execution:
    """How this worker's process runs jobs. ``processes``: for plain functions; None where there are none of those. ``require``: what
    features provide, by type. ``hub`` hears how each attempt ended.

    ``submitters`` knows what people may do now; None: they keep what they had. ``tracer``: None when nothing is traced. ``rng``: 0 to 1.
    """

    def __init__(
        self,
        store: JobStore,
        engine: Engine,
        database: Database,
        *,
        processes: Processes | None,
        require: Callable[[type[Any]], Any],
        hub: EventHub,
        submitters: Submitters | None = None,
        tracer: Tracer | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.reporter = JobReporter(hub)
        self._store = store
        self._engine = engine
        self._database = database
        self._processes = processes
        self._require = require
        self._submitters = submitters
        self._tracer = tracer
        self._rng = rng
        self._asking: dict[str, bool] = {}

    async def run(
        self, job: Job[Any], claimed: ClaimedJob, worker: UUID, reports: RunReports
    ) -> Outcome | None:
        """How the attempt ended; None when that is written already, with what the job wrote. Whoever cancels it tells how that ended."""
        if self._tracer is None:
            return (await self._attempt(job, claimed, worker, reports)).outcome
        with job_span(
            self._tracer,
            claimed.traceparent,
            job=job.name,
            queue=claimed.queue,
            job_id=str(claimed.id),
            attempt=claimed.attempt,
        ) as span:
            traced = claimed._replace(traceparent=span.traceparent)
            verdict = await self._attempt(job, traced, worker, reports)
            span.ended(verdict.word, verdict.error)
        return verdict.outcome

    async def _attempt(
        self, job: Job[Any], claimed: ClaimedJob, worker: UUID, reports: RunReports
    ) -> Verdict:
        job_id = str(claimed.id)
        token = set_context(RequestContext(job_id, traceparent=claimed.traceparent, job_id=job_id))
        reports.started = monotonic()
        try:
            verdict = await self._under_policy(job, claimed, worker, reports)
        except ClaimLost as error:
            verdict = Verdict("lost", None, error)
        except BaseException as error:  # noqa: BLE001 - the outermost frame of a job; libraries have such errors of their own
            failure = _failure(error)
            verdict = verdict_on(failure, claimed, job, has_begun=reports.has_begun, rng=self._rng)
        finally:
            reset_context(token)
        self.reporter.tell(claimed, verdict.word, reports.started, verdict.error)
        return verdict

    async def _under_policy(
        self, job: Job[Any], claimed: ClaimedJob, worker: UUID, reports: RunReports
    ) -> Verdict:
        submitter = claimed.submitter
        if submitter is not None and self._submitters is not None and self._asks_rights(job):
            submitter = await self._submitters.rights_of(submitter)
            if submitter is None:
                raise SubmitterGone
            claimed = claimed._replace(submitter=submitter)
        work = partial(self._work, job, claimed, worker, reports)
        result = await self._engine.run(job.policy, job.options.config, work, principal=submitter or SYSTEM)
        return Verdict("succeeded", None if job.wants_session else _succeeded(claimed, result, reports))

    def _asks_rights(self, job: Job[Any]) -> bool:
        """Whether its policy, as operators left it, looks at what the submitter may."""
        asks = self._asking.get(job.name)
        if asks is None:
            config = self._engine.post(job.policy, job.options.config).config
            asks = bool(config.security.scopes or config.security.roles or config.extra)
            self._asking[job.name] = asks
        return asks

    async def _work(
        self, job: Job[Any], claimed: ClaimedJob, worker: UUID, reports: RunReports
    ) -> bytes | None:
        reports.has_begun = True
        if job.in_process:
            if self._processes is None:
                raise ConfigurationError(f"The job {job.name} needs a pool of processes")
            return await self._processes.run(job, claimed, reports)
        arguments = job.unpack(claimed.arguments)
        run = JobRun(claimed, reports, self._require)
        if not job.wants_session:
            return job.pack_result(await job.work(arguments, run, None))
        async with get_db_context(self._database) as session:
            result = job.pack_result(await job.work(arguments, run, session))
            if not await self._store.finish_in(session, worker, _succeeded(claimed, result, reports)):
                raise ClaimLost
        return None


def _failure(error: BaseException) -> Exception:
    """What ended the attempt; a handler that exits, panics, or waits for something cancelled, has failed. Raises the job's cancellation."""
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
        raise error
    failure = HandlerFailed(type(error).__name__)
    failure.__cause__ = error
    return failure


def _succeeded(claimed: ClaimedJob, result: bytes | None, reports: RunReports) -> Outcome:
    return Outcome(
        claimed.id,
        claimed.attempt,
        "succeeded",
        result,
        cost_micro=reports.cost_micro,
        is_followed=claimed.is_followed,
        note=reports.note,
    )
