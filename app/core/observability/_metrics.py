"""Prometheus metrics of one application, fed by the edge and by events.

Names and labels are bounded: routes are templates, operations and states come from short lists, and
everything that callers could invent shares one label.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_fastapi_instrumentator import metrics as instrumentator

from app.core.errors import ConfigurationError
from app.core.observability._events import EventHub, JobEvent
from app.core.observability._gate_metrics import HTTP_BUCKETS, GateMetrics
from app.core.observability._job_metrics import JobMetrics
from app.core.observability._multiprocess import forget_dead_workers, multiprocess_dir
from app.core.observability._requests import RequestRecord
from app.core.observability._resilience_metrics import ResilienceMetrics
from app.core.observability._server_metrics import FAST_BUCKETS, ServerMetrics
from app.core.observability._tally import observe_all
from app.core.observability._work_metrics import WorkMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

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
        instrumentator.latency(should_include_status=False, buckets=HTTP_BUCKETS, registry=registry)
        latency = registry.made[-1]
        if not (isinstance(total, Counter) and isinstance(latency, Histogram)):
            raise ConfigurationError("prometheus-fastapi-instrumentator makes other metrics than it did")
        self._total = total
        self._latency = latency
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, records: Iterable[RequestRecord]) -> None:
        took: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
        for _, method, route, status, duration_s, *_ in records:
            took[route, method, status].append(duration_s)
        for key, durations in took.items():
            total, latency = self._series.get(key) or self._find(key)
            total.inc(len(durations))
            observe_all(latency, durations)

    def _find(self, key: tuple[str, str, int]) -> tuple[Counter, Histogram]:
        route, method, status = key
        labels = {"handler": "none" if route.startswith("(") else route, "method": method}
        series = self._total.labels(status=str(status), **labels), self._latency.labels(**labels)
        self._series[key] = series
        return series


class Metrics:
    """The metrics of one application; several in one process do not meet, as each has a registry of its own.

    Metrics that users make on prometheus-client's default registry are exposed too, under names of ours as
    well if kind and labels are the same. With ``PROMETHEUS_MULTIPROC_DIR`` set (before prometheus_client is imported) the exposition is
    the sum over all workers; default process metrics are then absent.
    """

    def __init__(self) -> None:
        self._registry = registry = _Registry()
        self._http = _HttpMetrics(registry)
        self._background = WorkMetrics(registry)
        self._jobs = JobMetrics(registry)
        self._resilience = ResilienceMetrics(registry)
        self._servers = ServerMetrics(registry)
        # Waits until requests are counted: counting costs less in batches.
        self._gates = GateMetrics(registry)

    def subscribe(self, hub: EventHub) -> None:
        """Count every event that this hub carries from now on."""
        self._background.subscribe(hub)
        self._jobs.subscribe(hub)
        self._gates.subscribe(hub)
        self._resilience.subscribe(hub)
        self._servers.subscribe(hub)

    def on_requests(self, records: Sequence[RequestRecord]) -> None:
        """Count finished requests and what their gates and handlers reported; a consumer of ``RequestReports``."""
        self._http.count(records)
        self._gates.count_waiting()

    def on_jobs(self, events: Sequence[JobEvent]) -> None:
        """Count ended attempts at jobs, and what the policy engine reported meanwhile; a consumer of ``Batches``."""
        self._jobs.count(events)
        self._gates.count_waiting()

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format. Takes milliseconds: call it in a thread."""
        self._gates.count_waiting()
        folder = multiprocess_dir()
        if folder is None:
            both = CollectorRegistry()
            both.register(_Merged(self._registry, REGISTRY))
            return generate_latest(both)
        forget_dead_workers(folder)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone, path=str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(everyone)
