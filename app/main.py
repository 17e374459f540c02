"""The API's door: puts the application together. Its shape in one function, ``create_app``; the rest are its parts."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware.cors import CORSMiddleware

from app.core.db import CursorSigner, Database, configure_cursors, translate
from app.core.errors import ConfigurationError
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
    PageCookies,
    Platform,
    RepeatedQueriesMiddleware,
    SecurityHeaders,
    TrafficControl,
    WorkAudit,
    describe_gates,
    install_problem_handlers,
    metrics_router,
    override_reads_too,
)
from app.core.jobs import Periodic, PeriodicRunner, upkeep
from app.core.observability import (
    EventHub,
    Metrics,
    RequestReports,
    SettlementEvent,
    access_log,
    configure_logging,
    configure_tracing,
    get_tracer,
    shutdown_tracing,
)
from app.core.policies import (
    Admitter,
    Epochs,
    EpochSource,
    HoldBook,
    Overrides,
    RateLimit,
    Renewals,
)
from app.core.resilience import Breakers, Clock, Deadlines, SystemClock
from app.core.security import DataEncryptor, Sealer, WebhookKeys, configure_encryption
from app.core.valkey import Cache, ValkeyClient
from app.registry import FEATURES, Feature
from app.settings import Settings

_NO_URLS = "DATABASE_URL and VALKEY_URL must be set; `make run` starts servers of its own"
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
    configure_logging(
        "DEBUG" if settings.debug else settings.log.level, settings.log.format, settings.app_name
    )
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
    platform = _platform(settings, features)
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
    app.include_router(_metrics(settings, metrics))
    install_problem_handlers(app, foreign=(SQLAlchemyError,), translate=translate)
    describe_gates(app, lambda: platform.routes, "/auth/token", api_keys=platform.api_keys is not None)
    _add_middleware(app, settings, platform, reports)
    return app


def _metrics(settings: Settings, metrics: Metrics) -> APIRouter:
    token = settings.metrics.token
    secret = token.get_secret_value() if token is not None else None
    return metrics_router(metrics.exposition, networks=settings.metrics.networks, token=secret)


def _platform(settings: Settings, features: Iterable[Feature]) -> Platform:
    hub, clock = EventHub(), SystemClock()
    database, store = _database(settings, hub, clock), _store(settings, hub, clock)
    keys = settings.sealing_keys
    sealer = Sealer(keys) if keys else None
    admitter = _admitter(settings, store, hub, clock)
    platform = Platform(
        database=database,
        store=store,
        admitter=admitter,
        hub=hub,
        clock=clock,
        traffic=TrafficControl(max_in_flight=settings.max_in_flight),
        cache=Cache(store, clock=clock, hub=hub, seal=sealer),
        holds=HoldBook(store),
        renewals=Renewals(admitter, clock=clock),
        sealer=sealer,
        encryptor=DataEncryptor(keys) if keys else None,
        overrides=Overrides.load(settings.policies_file, settings.policy_variables),
        breakers=Breakers(clock=clock, hub=hub),
        page_cookies=PageCookies(settings.secrets, always_secure=settings.is_production),
        webhooks={source: WebhookKeys(secrets) for source, secrets in settings.webhook_keys.items()},
    )
    for feature in features:
        _take(platform, settings, feature)
    if (source := platform.services.get(EpochSource)) is not None:
        admitter.prove_tokens(Epochs(store, source, clock=clock, grace_s=settings.revocation_grace_s))
    return platform


def _database(settings: Settings, hub: EventHub, clock: Clock) -> Database:
    if settings.postgres_url is None:
        raise ConfigurationError(_NO_URLS)
    options = {**settings.database_options, "hub": hub, "replica": settings.replica(hub=hub, clock=clock)}
    return Database(settings.postgres_url, **options)


def _store(settings: Settings, hub: EventHub, clock: Clock) -> ValkeyClient:
    if settings.store_url is None:
        raise ConfigurationError(_NO_URLS)
    return ValkeyClient(
        settings.store_url,
        timeout_s=settings.valkey_timeout_ms / 1000,
        max_pending=settings.valkey_max_pending,
        client_name=settings.app_name,
        hub=hub,
        clock=clock,
    )


def _admitter(settings: Settings, store: ValkeyClient, hub: EventHub, clock: Clock) -> Admitter:
    return Admitter(
        store,
        clock=clock,
        replicas=settings.replicas,
        top_up_url=settings.top_up_url,
        clustered=settings.valkey_clustered,
        on_settled=lambda policy, settled: hub.emit(SettlementEvent(policy, settled.outcome)),
        on_takeover=lambda policy: hub.emit(SettlementEvent(policy, "takeover")),
    )


def _take(platform: Platform, settings: Settings, feature: Feature) -> None:
    """What a feature brings along."""
    platform.pings.update(feature.pings)
    if taken := platform.work.keys() & feature.work.keys():
        raise ConfigurationError(f"Two features have work under one name: {', '.join(sorted(taken))}")
    platform.work.update(feature.work)
    if feature.provides is not None:
        platform.services.update(feature.provides(platform, settings))


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
        deadlines = Deadlines()
        platform.routes = _audit(app, settings, features, platform, deadlines)
        configure_encryption(settings.sealing_keys)
        configure_cursors(CursorSigner(settings.secrets))
        periodic = PeriodicRunner(platform.database, platform.hub, _periodic(features, platform))
        lifecycle = Lifecycle(platform, deadlines, periodic)
        await lifecycle.start(threads=settings.threads)
        try:
            yield
        finally:
            await lifecycle.stop()
            reports.flush()
            shutdown_tracing()

    return lifespan


def _periodic(features: Iterable[Feature], platform: Platform) -> list[Periodic]:
    tasks = upkeep(platform.database)
    return tasks + [task for feature in features if feature.periodic for task in feature.periodic(platform)]


def _failed_auth(settings: Settings) -> RateLimit:
    return RateLimit.fixed_window(
        "failed_auth", limit=settings.login.failed_auth_per_ip, window=60, scope="ip", shared="failed_auth"
    )
