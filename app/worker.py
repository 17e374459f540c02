"""The worker's door: runs jobs, and does the periodic work. It answers no requests."""

import os
import socket
from collections.abc import Callable, Iterable

import structlog
import uvloop
from fastapi import FastAPI

from app.assembly import assemble, begin_log, metrics_of, periodic_of
from app.builtin.health.router import live, ready
from app.builtin.health.service import Health, provide_health
from app.core.errors import ConfigurationError
from app.core.http import (
    AddressResolver,
    EdgeMiddleware,
    Lifecycle,
    Platform,
    SideServer,
    WorkAudit,
    install_problem_handlers,
)
from app.core.jobs import (
    Catalog,
    Crew,
    Execution,
    JobBroker,
    JobQueue,
    JobStore,
    KnownSubmitters,
    PeriodicRunner,
    ProcessPool,
    Publisher,
    Relay,
    Submitters,
    Worker,
    WorkerOptions,
    configure_jobs,
    run_until_told,
)
from app.core.observability import (
    Batches,
    JobEvent,
    Metrics,
    RequestReports,
    access_log,
    configure_tracing,
    get_tracer,
    job_log,
    shutdown_tracing,
)
from app.core.resilience import Deadlines
from app.core.security import configure_encryption
from app.registry import FEATURES, Feature
from app.settings import Settings

_log = structlog.get_logger(__name__)


def run_worker(
    settings: Settings,
    *,
    registry: Iterable[Feature] | None = None,
    listener: socket.socket | None = None,
    on_started: Callable[[], None] = lambda: None,
) -> int:
    """Run jobs until SIGINT or SIGTERM, then stop in steps; the exit code. A second signal does not wait for jobs in work.

    ``registry`` replaces the features of ``app.registry``. ``listener``: a socket that listens, for ``/live``, ``/ready`` and
    ``/metrics``. ``on_started`` is called once, when jobs are taken.
    """
    begin_log(settings)
    configure_tracing(enabled=settings.tracing, service=settings.app_name)
    try:
        uvloop.run(_run(settings, registry, listener, on_started))
    finally:
        shutdown_tracing()
    return 0


async def _run(
    settings: Settings,
    registry: Iterable[Feature] | None,
    listener: socket.socket | None,
    on_started: Callable[[], None],
) -> None:
    app = WorkerApp(settings, registry=registry)  # where its loop runs
    probes = SideServer(app.probes(), listener) if listener is not None else None
    await run_until_told(app, beside=probes, on_started=on_started)


class WorkerApp:
    """One worker and all it needs: ``start`` once, ``stop`` once. ``registry`` replaces the features of ``app.registry``.

    Raises ConfigurationError for a configuration that cannot work.
    """

    def __init__(self, settings: Settings, *, registry: Iterable[Feature] | None = None) -> None:
        features = tuple(FEATURES if registry is None else registry)
        self.settings = settings
        self.platform = assemble(settings, features)
        deadlines = self.platform.deadlines = Deadlines()
        self.metrics = Metrics()
        self.metrics.subscribe(self.platform.hub)
        self._ends = Batches[JobEvent](self.metrics.on_jobs, job_log(), max_waiting=1000)
        self.platform.hub.subscribe(JobEvent, self._ends)
        if problems := list(WorkAudit(self.platform.work, self.platform.engine).check(set())):
            raise ConfigurationError("; ".join(problems))
        self.pool = _pool(settings, self.platform.require(Catalog))
        self.worker = worker_of(settings, self.platform, self.pool)
        periodic = PeriodicRunner(
            self.platform.database, self.platform.hub, periodic_of(features, self.platform)
        )
        self.platform.pings["worker"] = self.worker.ping
        self._lifecycle = Lifecycle(
            self.platform, deadlines, Crew(periodic, self.worker, self.pool, self.platform.database)
        )

    def probes(self) -> FastAPI:
        """``/live``, ``/ready`` and ``/metrics`` of this process, as the API has them."""
        platform, settings = self.platform, self.settings
        if Health not in platform.services:
            platform.services.update(provide_health(platform, settings))
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
        app.state.gatehouse = platform
        app.get("/live")(live)
        app.get("/ready")(ready)
        app.include_router(metrics_of(settings, self.metrics))
        install_problem_handlers(app)
        app.add_middleware(
            EdgeMiddleware,
            traffic=platform.traffic,
            addresses=AddressResolver(settings.trusted_proxies),
            report=RequestReports(access_log(), self.metrics.on_requests),
        )
        return app

    async def start(self) -> None:
        """Connect, and begin. Waits while the database is away or its schema behind; while Valkey is away jobs wait, and no more."""
        configure_encryption(self.settings.sealing_keys)
        configure_jobs(self.platform.services.get(JobQueue))
        await self._lifecycle.start(threads=self.settings.threads)
        _log.info("worker.started", worker=self.worker.options.name, queues=self.worker.options.queues)

    async def stop(self) -> None:
        """Take no more, let jobs end, give back the rest."""
        await self._lifecycle.stop()
        configure_jobs(None)
        self._ends.flush()
        _log.info("worker.stopped", worker=self.worker.options.name)

    def hurry(self) -> None:
        """Give back what is in work now."""
        self.worker.hurry()


def _pool(settings: Settings, catalog: Catalog) -> ProcessPool | None:
    """None where no job needs one: processes are dear."""
    served = settings.jobs.queues or catalog.queues
    plain = [job for job in catalog if job.in_process and job.options.queue in served]
    return ProcessPool(plain, settings.jobs.processes) if plain else None


def worker_of(settings: Settings, platform: Platform, pool: ProcessPool | None) -> Worker:
    """A worker as the settings say, with what the platform has; ``pool`` for plain functions."""
    jobs, catalog, publisher = settings.jobs, platform.require(Catalog), platform.require(Publisher)
    store: JobStore = platform.require(JobStore)  # type: ignore[type-abstract]
    broker: JobBroker = platform.require(JobBroker)  # type: ignore[type-abstract]
    options = WorkerOptions(
        name=f"{socket.gethostname()}:{os.getpid()}",
        queues=tuple(jobs.queues) or catalog.queues,
        concurrency=jobs.concurrency,
        processes=jobs.processes,
        beat_s=min(1.0, jobs.silent_s / 6),
        recover_s=min(5.0, jobs.silent_s / 3),
        grace_s=jobs.grace_s,
    )
    execution = Execution(
        store,
        platform.engine,
        platform.database,
        processes=pool,
        require=platform.require,
        hub=platform.hub,
        submitters=_submitters(platform),
        tracer=get_tracer("app.core.jobs") if settings.tracing else None,
    )
    return Worker(
        options,
        execution,
        catalog=catalog,
        store=store,
        broker=broker,
        relay=Relay(store, broker, publisher, silent_s=jobs.silent_s, hub=platform.hub),
    )


def _submitters(platform: Platform) -> Submitters | None:
    """Who knows what people may do now, if a feature does."""
    source: Submitters | None = platform.services.get(Submitters)
    return KnownSubmitters(source, platform.clock.monotonic) if source is not None else None
