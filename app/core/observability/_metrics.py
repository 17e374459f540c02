"""Prometheus metrics of one application, fed by the edge and by events.

Names and labels are bounded: routes are templates, operations and states come from short lists, and
everything that callers could invent shares one label.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_fastapi_instrumentator import metrics as instrumentator

from app.core.errors import ConfigurationError
from app.core.observability._events import (
    CacheEvent,
    Event,
    EventHub,
    PolicyEvent,
    SettlementEvent,
    WorkEvent,
)
from app.core.observability._multiprocess import forget_dead_workers, multiprocess_dir
from app.core.observability._requests import RequestRecord
from app.core.observability._resilience_metrics import ResilienceMetrics
from app.core.observability._server_metrics import FAST_BUCKETS, ServerMetrics
from app.core.observability._settlement_metrics import SettlementMetrics
from app.core.observability._work_metrics import WorkMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_db_latency = Histogram(
    "db_latency_seconds",
    "Time of a piece of database work that the code names",
    ["operation"],
    buckets=FAST_BUCKETS,
)


@asynccontextmanager
async def record_db_latency(operation: str) -> AsyncIterator[None]:
    """Time the block into ``db_latency_seconds{operation}``, also when it raises.

    ``operation`` is a name written in the code, never a value from a request: each new one is a time series
    for ever.
    """
    started = perf_counter()
    try:
        yield
    finally:
        _db_latency.labels(operation).observe(perf_counter() - started)


class _Registry(CollectorRegistry):
    """Remembers what is registered, so that the metrics which the instrumentator's functions make can be fed directly."""

    def __init__(self) -> None:
        self.made: list[Collector] = []
        super().__init__()

    def register(self, collector: Collector) -> None:
        super().register(collector)
        self.made.append(collector)


class _Merged(Collector):
    """Several registries as one.

    A family that users made under a name of ours (the documents' ``api_latency_seconds``) is told once, with
    the samples of both: a scraper refuses two families of one name.
    """

    def __init__(self, *registries: CollectorRegistry) -> None:
        self._registries = registries

    def collect(self) -> Iterable[Metric]:
        families: dict[tuple[str, str], Metric] = {}
        for registry in self._registries:
            for family in registry.collect():
                known = families.setdefault((family.name, family.type), family)
                if known is not family:
                    known.samples = [*known.samples, *family.samples]
        return families.values()


class _HttpMetrics:
    """The instrumentator's ``http_requests_total`` and ``http_request_duration_seconds``.

    Its functions want a request and a response, look up their series by label each time, and its middleware
    matches the route once more; here a series is found once, and the edge knows the route.
    """

    def __init__(self, registry: _Registry) -> None:
        instrumentator.requests(registry=registry)
        total = registry.made[-1]
        instrumentator.latency(should_include_status=False, buckets=_HTTP_BUCKETS, registry=registry)
        latency = registry.made[-1]
        if not (isinstance(total, Counter) and isinstance(latency, Histogram)):
            raise ConfigurationError("prometheus-fastapi-instrumentator makes other metrics than it did")
        self._total = total
        self._latency = latency
        self._series: dict[tuple[str, str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}

    def count(self, record: RequestRecord) -> None:
        key = (record.route, record.method, record.status)
        series = self._series.get(key)
        if series is None:
            handler = "none" if record.route.startswith("(") else record.route
            labels = {"handler": handler, "method": record.method}
            series = self._series[key] = (
                self._total.labels(status=str(record.status), **labels).inc,
                self._latency.labels(**labels).observe,
            )
        series[0]()
        series[1](record.duration_s)


class Metrics:
    """The metrics of one application; several in one process do not meet, as each has a registry of its own.

    Metrics that users make on prometheus-client's default registry are exposed too, under names of ours as
    well if kind and labels are the same. With ``PROMETHEUS_MULTIPROC_DIR`` set (before prometheus_client is imported) the exposition is
    the sum over all workers; default process metrics are then absent.
    """

    def __init__(self) -> None:
        # What a request reports waits until the request is counted: counting costs less in batches. Bounded, because
        # work outside requests reports too; a process that counts nothing for that long loses the oldest.
        self._waiting: deque[Event] = deque(maxlen=100_000)
        self._registry = registry = _Registry()
        self._http = _HttpMetrics(registry)
        self._background = WorkMetrics(registry)
        self._resilience = ResilienceMetrics(registry)
        self._settlements = SettlementMetrics(registry)
        self._servers = ServerMetrics(registry)
        self._decisions = Counter(
            "gatehouse_policy_decisions_total",
            "Decisions of the gates",
            ["policy", "verdict", "shadow"],
            registry=registry,
        )
        self._decision: dict[tuple[str, str, bool], Counter] = {}
        self._degraded = Counter(
            "gatehouse_policy_degraded_total",
            "Decisions made without the store",
            ["policy"],
            registry=registry,
        )
        self._store_time = Histogram(
            "gatehouse_policy_store_seconds",
            "Time of the admission round trip",
            buckets=FAST_BUCKETS,
            registry=registry,
        )
        self._work = Histogram(
            "api_latency_seconds", "Time of a handler", ["endpoint"], buckets=_HTTP_BUCKETS, registry=registry
        )
        self._work_of: dict[str, Histogram] = {}
        self._failures = Counter(
            "api_errors_total", "Handlers that did not end well", ["endpoint", "outcome"], registry=registry
        )
        self._cache = Counter(
            "gatehouse_cache_events_total",
            "What caches did for callers",
            ["cache", "kind"],
            registry=registry,
        )

    def subscribe(self, hub: EventHub) -> None:
        """Count every event that this hub carries from now on."""
        self._background.subscribe(hub)
        hub.subscribe(PolicyEvent, self._waiting.append)
        hub.subscribe(WorkEvent, self._waiting.append)
        hub.subscribe(CacheEvent, self._waiting.append)
        hub.subscribe(SettlementEvent, self._waiting.append)
        self._resilience.subscribe(hub)
        self._settlements.subscribe(hub)
        self._servers.subscribe(hub)

    def on_requests(self, records: Sequence[RequestRecord]) -> None:
        """Count finished requests and what their gates and handlers reported; a consumer of ``RequestReports``."""
        for record in records:
            self._http.count(record)
        self._count_waiting()

    def _count_waiting(self) -> None:
        while self._waiting:
            try:
                event = self._waiting.popleft()
            except IndexError:  # another thread took the last one
                return
            if isinstance(event, PolicyEvent):
                self._on_decision(event)
            elif isinstance(event, WorkEvent):
                self._on_work(event)
            elif isinstance(event, SettlementEvent):
                self._settlements.count(event)
            elif isinstance(event, CacheEvent):
                self._cache.labels(event.cache, event.kind).inc()

    def _on_decision(self, event: PolicyEvent) -> None:
        key = (event.policy, event.verdict, bool(event.shadowed))
        counter = self._decision.get(key)
        if counter is None:
            counter = self._decision[key] = self._decisions.labels(*key[:2], "true" if key[2] else "false")
        counter.inc()
        if event.degraded:
            self._degraded.labels(event.policy).inc()
        elif event.store_s:
            self._store_time.observe(event.store_s)

    def _on_work(self, event: WorkEvent) -> None:
        histogram = self._work_of.get(event.policy)
        if histogram is None:
            histogram = self._work_of[event.policy] = self._work.labels(event.policy)
        histogram.observe(event.duration_s)
        if event.outcome != "ok":
            self._failures.labels(event.policy, event.outcome).inc()

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format. Takes milliseconds: call it in a thread."""
        self._count_waiting()
        folder = multiprocess_dir()
        if folder is None:
            both = CollectorRegistry()
            both.register(_Merged(self._registry, REGISTRY))
            return generate_latest(both)
        forget_dead_workers(folder)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone, path=str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(everyone)
