"""The API's door: puts the application together. Its shape in one function, ``create_app``; the rest are its parts."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import cast

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware.cors import CORSMiddleware

from app.core.db import Database, configure, translate
from app.core.errors import ConfigurationError
from app.core.http import (
    AddressResolver,
    BootAudit,
    EdgeMiddleware,
    GatedRoute,
    GateKit,
    Platform,
    TrafficControl,
    describe_gates,
    install_problem_handlers,
    limit_threads,
    metrics_router,
)
from app.core.observability import (
    EventHub,
    Metrics,
    RequestReports,
    access_log,
    configure_logging,
    configure_tracing,
    get_tracer,
    shutdown_tracing,
)
from app.core.policies import ADMIT, Admitter, RateLimit
from app.core.resilience import Breakers, Deadlines, SystemClock
from app.core.valkey import StoreError, ValkeyClient
from app.registry import FEATURES, Feature
from app.settings import Settings

_OPEN_ROUTES = {
    "/metrics": "for configured networks, or with its token",
    "/openapi.json": "documentation",
    "/docs": "documentation",
    "/docs/oauth2-redirect": "documentation",
}


def create_app(settings: Settings | None = None, *, registry: Iterable[Feature] | None = None) -> FastAPI:
    """The service as an ASGI application. Connects to nothing until its lifespan starts.

    ``registry`` replaces the features of ``app.registry``. Raises ConfigurationError for a configuration that cannot serve.
    """
    settings = settings or Settings()
    configure_logging(
        "DEBUG" if settings.debug else settings.log.level, settings.log.format, settings.app_name
    )
    features = tuple(FEATURES if registry is None else registry)
    platform = _platform(settings, features)
    metrics = Metrics()
    metrics.subscribe(platform.hub)
    reports = RequestReports(access_log(), metrics.on_requests)
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
    for feature in features:
        if feature.router is not None:
            app.include_router(feature.router)
    app.include_router(_metrics(settings, metrics))
    install_problem_handlers(app, foreign=(SQLAlchemyError,), translate=translate)
    describe_gates(app, lambda: platform.routes, "/auth/token")
    _add_middleware(app, settings, platform, reports)
    return app


def _metrics(settings: Settings, metrics: Metrics) -> APIRouter:
    token = settings.metrics.token
    secret = token.get_secret_value() if token is not None else None
    return metrics_router(metrics.exposition, networks=settings.metrics.networks, token=secret)


def _platform(settings: Settings, features: Iterable[Feature]) -> Platform:
    if settings.postgres_url is None or settings.store_url is None:
        raise ConfigurationError(
            "DATABASE_URL and VALKEY_URL must be set; `make run` starts servers of its own"
        )
    hub, clock = EventHub(), SystemClock()
    database = Database(
        settings.postgres_url,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout_s=settings.db_pool_timeout,
        pool_recycle_s=settings.db_pool_recycle,
        statement_timeout_s=settings.db_statement_timeout_s,
        application_name=settings.app_name,
        hub=hub,
    )
    store = ValkeyClient(
        settings.store_url,
        timeout_s=settings.valkey_timeout_ms / 1000,
        max_pending=settings.valkey_max_pending,
        client_name=settings.app_name,
        hub=hub,
        clock=clock,
    )
    platform = Platform(
        database=database,
        store=store,
        admitter=Admitter(store, clock=clock, replicas=settings.replicas),
        hub=hub,
        clock=clock,
        traffic=TrafficControl(max_in_flight=settings.max_in_flight),
        breakers=Breakers(clock=clock, hub=hub),
    )
    for feature in features:
        platform.pings.update(feature.pings)
        if feature.provides is not None:
            platform.services.update(feature.provides(platform, settings))
    return platform


def _add_middleware(app: FastAPI, settings: Settings, platform: Platform, reports: RequestReports) -> None:
    """The last one added is the outermost: the edge."""
    cors = settings.cors
    if cors.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors.origins,
            allow_methods=cors.methods,
            allow_headers=cors.headers,
            allow_credentials=cors.credentials,
            expose_headers=["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"],
            max_age=cors.max_age_s,
        )
    app.add_middleware(
        EdgeMiddleware,
        traffic=platform.traffic,
        addresses=AddressResolver(settings.trusted_proxies),
        max_body_bytes=settings.max_body_bytes,
        body_timeout_s=settings.body_timeout_s,
        report=reports,
    )


def _lifespan(
    settings: Settings, features: Iterable[Feature], platform: Platform, reports: RequestReports
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    open_routes = dict(_OPEN_ROUTES)
    for feature in features:
        open_routes.update(feature.open_routes)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        deadlines = Deadlines()
        limit_threads(settings.threads)
        kit = GateKit(
            platform.tokens,
            platform.admitter,
            platform.hub,
            platform.clock,
            _failed_auth(settings),
            deadlines,
            get_tracer("gatehouse") if settings.tracing else None,
            platform.breakers,
        )
        platform.routes = BootAudit(app, kit, platform.database, open_routes).run()
        with suppress(StoreError):  # an API that starts during an outage serves in its degraded modes
            await platform.store.preload([ADMIT])
        configure(platform.database)
        platform.traffic.pass_audit()
        try:
            yield
        finally:
            platform.traffic.drain()
            deadlines.close()
            for stop in platform.on_stop:
                if (waiting := stop()) is not None:
                    await waiting
            await platform.store.close()
            await platform.database.close()
            reports.flush()
            shutdown_tracing()

    return lifespan


def _failed_auth(settings: Settings) -> RateLimit:
    return RateLimit.fixed_window(
        "failed_auth", limit=settings.login.failed_auth_per_ip, window=60, scope="ip", shared="failed_auth"
    )
