"""The API's door: puts the application together. Its shape in one function, ``create_app``; the rest are its parts."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware.cors import CORSMiddleware

from app.assembly import assemble, begin_log, metrics_of, periodic_of
from app.core.db import CursorSigner, configure_cursors, translate
from app.core.http import (
    AddressResolver,
    AuditedRoute,
    BootAudit,
    Changes,
    EdgeMiddleware,
    FrontMiddleware,
    GatedRoute,
    GateKit,
    Lifecycle,
    Platform,
    RepeatedQueriesMiddleware,
    SecurityHeaders,
    WorkAudit,
    describe_gates,
    install_problem_handlers,
    override_reads_too,
)
from app.core.jobs import JobQueue, PeriodicRunner, configure_jobs
from app.core.observability import (
    Metrics,
    RequestReports,
    access_log,
    configure_tracing,
    get_tracer,
    shutdown_tracing,
)
from app.core.policies import RateLimit
from app.core.resilience import Deadlines
from app.core.security import configure_encryption
from app.registry import FEATURES, Feature
from app.settings import Settings

_OPEN_ROUTES = {
    "/metrics": "for configured networks, or with its token",
    "/openapi.json": "documentation",
    "/docs": "documentation",
    "/docs/oauth2-redirect": "documentation",
}

# All that we send and that a page of another origin could not read otherwise.
_EXPOSED = (
    "Age", "Allow", "Cache-Status", "ETag", "Idempotent-Replayed", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After",
    "WWW-Authenticate", "X-Request-ID",
)  # fmt: skip

# Which servers there are changes no policy; at these addresses there are none, and nobody calls there.
_NO_SERVERS = {
    "database_url": SecretStr("postgresql+asyncpg://nobody@127.0.0.1:1/none"),
    "admin_database_url": None,
    "supabase_db_url": None,
    "database_replica_url": None,
    "db_client": "auto",
    "valkey_url": SecretStr("valkey://127.0.0.1:1/0"),
    "redis_url": None,
}


def create_app(settings: Settings | None = None, *, registry: Iterable[Feature] | None = None) -> FastAPI:
    """The service as an ASGI application. Connects to nothing until its lifespan starts.

    ``registry`` replaces the features of ``app.registry``. Raises ConfigurationError for a configuration that cannot serve.
    """
    settings = settings or Settings()
    begin_log(settings)
    return _assemble(settings, tuple(FEATURES if registry is None else registry))


def audited(settings: Settings, *, registry: Iterable[Feature] | None = None) -> Platform:
    """What the service would start with, its ``routes`` audited and its overrides applied, for commands. Starts nothing, asks no server,
    and leaves the process's log alone. Call it where an event loop runs.

    Raises ConfigurationError for an application that would not start, with everything that is wrong with its routes and overrides.
    """
    features = tuple(FEATURES if registry is None else registry)
    app = _assemble(settings.model_copy(update={**_NO_SERVERS, "tracing": False}), features)
    platform: Platform = app.state.gatehouse
    platform.routes = _audit(app, settings, features, platform, Deadlines())
    return platform


def _assemble(settings: Settings, features: tuple[Feature, ...]) -> FastAPI:
    platform = assemble(settings, features)
    metrics = Metrics()
    metrics.subscribe(platform.hub)
    reports = RequestReports(access_log(), metrics.on_requests, *platform.on_requests)
    has_docs = not settings.is_production
    app = FastAPI(
        title=settings.app_name,
        docs_url="/docs" if has_docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if has_docs else None,
        redirect_slashes=False,  # the redirect would go to whatever Host the caller named, and around the gate
        lifespan=_lifespan(settings, features, platform, reports),
        telemetry=cast(
            "TelemetryConfig", configure_tracing(enabled=settings.tracing, service=settings.app_name)
        ),
    )
    app.state.gatehouse = platform
    app.router.route_class = GatedRoute
    override_reads_too(app)
    for feature in features:
        if feature.router is not None:
            app.include_router(feature.router)
    app.include_router(metrics_of(settings, metrics))
    install_problem_handlers(app, foreign=(SQLAlchemyError,), translate=translate)
    describe_gates(app, lambda: platform.routes, "/auth/token", api_keys=platform.api_keys is not None)
    _add_middleware(app, settings, platform, reports)
    return app


def _add_middleware(app: FastAPI, settings: Settings, platform: Platform, reports: RequestReports) -> None:
    """The last one added is the outermost: the edge."""
    app.add_middleware(FrontMiddleware)
    cors = settings.cors
    if cors.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors.origins,
            allow_methods=cors.methods,
            allow_headers=cors.headers,
            allow_credentials=cors.credentials,
            expose_headers=_EXPOSED,
            max_age=cors.max_age_s,
        )
    if settings.repeat_limit:
        app.add_middleware(RepeatedQueriesMiddleware, threshold=settings.repeat_limit)
    app.add_middleware(
        EdgeMiddleware,
        traffic=platform.traffic,
        addresses=AddressResolver(settings.trusted_proxies),
        max_body_bytes=settings.max_body_bytes,
        body_timeout_s=settings.body_timeout_s,
        report=reports,
        security=SecurityHeaders(hsts=settings.is_production),
    )


def _audit(
    app: FastAPI, settings: Settings, features: Iterable[Feature], platform: Platform, deadlines: Deadlines
) -> tuple[AuditedRoute, ...]:
    """Compile every gate and put it in front of its routes."""
    open_routes = dict(_OPEN_ROUTES)
    for feature in features:
        open_routes.update(feature.open_routes)
    kit = GateKit(
        platform.tokens,
        platform.admitter,
        platform.hub,
        platform.clock,
        _failed_auth(settings),
        deadlines,
        platform.traffic,
        platform.breakers,
        platform.background,
        platform.keeping(),
        Changes(platform.cache),
        get_tracer("gatehouse") if settings.tracing else None,
        platform.overrides,
        platform.switches,
        platform.api_keys,
        platform.pages,
    )
    work = WorkAudit(platform.work, platform.engine)
    return BootAudit(app, kit, platform.database, open_routes, work).run()


def _lifespan(
    settings: Settings, features: Iterable[Feature], platform: Platform, reports: RequestReports
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        deadlines = platform.deadlines = Deadlines()
        platform.routes = _audit(app, settings, features, platform, deadlines)
        configure_encryption(settings.sealing_keys)
        configure_cursors(CursorSigner(settings.secrets))
        configure_jobs(platform.services.get(JobQueue))
        periodic = PeriodicRunner(platform.database, platform.hub, periodic_of(features, platform))
        lifecycle = Lifecycle(platform, deadlines, periodic)
        await lifecycle.start(threads=settings.threads)
        try:
            yield
        finally:
            await lifecycle.stop()
            configure_jobs(None)
            reports.flush()
            shutdown_tracing()

    return lifespan


def _failed_auth(settings: Settings) -> RateLimit:
    return RateLimit.fixed_window(
        "failed_auth", limit=settings.login.failed_auth_per_ip, window=60, scope="ip", shared="failed_auth"
    )
