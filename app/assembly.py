"""What every process is made of, put together from settings and features: the API's and the worker's doors both begin here."""

from collections.abc import Iterable

from fastapi import APIRouter

from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.http import PageCookies, Platform, TrafficControl, metrics_router
from app.core.jobs import Catalog, Periodic, upkeep
from app.core.observability import EventHub, Metrics, SettlementEvent, configure_logging
from app.core.policies import Admitter, Epochs, EpochSource, HoldBook, Overrides, Renewals
from app.core.resilience import Breakers, Clock, SystemClock
from app.core.security import DataEncryptor, Sealer, WebhookKeys
from app.core.valkey import Cache, ValkeyClient
from app.registry import Feature
from app.settings import Settings

_NO_URLS = "DATABASE_URL and VALKEY_URL must be set; `make run` starts servers of its own"


def begin_log(settings: Settings) -> None:
    """Have this process log as the settings say."""
    level = "DEBUG" if settings.debug else settings.log.level
    configure_logging(level, settings.log.format, settings.app_name)


def assemble(settings: Settings, features: tuple[Feature, ...]) -> Platform:
    """What a process is made of. Connects to nothing. Raises ConfigurationError for a configuration that cannot serve."""
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
    platform.services[Catalog] = Catalog(job for feature in features for job in feature.jobs)
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
    work = {**feature.work, **{job.policy: job.options.config for job in feature.jobs}}
    if taken := platform.work.keys() & work.keys():
        raise ConfigurationError(f"Two features have work under one name: {', '.join(sorted(taken))}")
    platform.work.update(work)
    if feature.provides is not None:
        platform.services.update(feature.provides(platform, settings))


def periodic_of(features: Iterable[Feature], platform: Platform) -> list[Periodic]:
    """What is done again and again: the core's own upkeep, and what features bring along."""
    tasks = upkeep(platform.database)
    return tasks + [task for feature in features if feature.periodic for task in feature.periodic(platform)]


def metrics_of(settings: Settings, metrics: Metrics) -> APIRouter:
    """``/metrics`` for those who may read it."""
    token = settings.metrics.token
    secret = token.get_secret_value() if token is not None else None
    return metrics_router(metrics.exposition, networks=settings.metrics.networks, token=secret)
