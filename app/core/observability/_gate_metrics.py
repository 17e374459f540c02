"""Metrics of gates, handlers and caches: what every request reports, counted in batches."""

from collections import defaultdict, deque
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.core.observability._events import CacheEvent, EventHub, PolicyEvent, SettlementEvent, WorkEvent
from app.core.observability._server_metrics import FAST_BUCKETS
from app.core.observability._settlement_metrics import SettlementMetrics
from app.core.observability._tally import observe_all, taken, tally

HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds, for what a caller waits for."""
_MOST_WAITING = 100_000


class GateMetrics:
    """Events wait until ``count_waiting``. Labels are names from the code.

    What waits is bounded, because work outside requests reports too: a process that counts nothing for 100,000 events of a kind loses the
    oldest of them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._policy_events: deque[PolicyEvent] = deque(maxlen=_MOST_WAITING)
        self._work_events: deque[WorkEvent] = deque(maxlen=_MOST_WAITING)
        self._cache_events: deque[CacheEvent] = deque(maxlen=_MOST_WAITING)
        self._settlement_events: deque[SettlementEvent] = deque(maxlen=_MOST_WAITING)
        self._settlements = SettlementMetrics(registry)
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
            "api_latency_seconds", "Time of a handler", ["endpoint"], buckets=HTTP_BUCKETS, registry=registry
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
        """Count every event of these kinds that the hub carries from now on."""
        hub.subscribe(PolicyEvent, self._policy_events.append)
        hub.subscribe(WorkEvent, self._work_events.append)
        hub.subscribe(CacheEvent, self._cache_events.append)
        hub.subscribe(SettlementEvent, self._settlement_events.append)
        self._settlements.subscribe(hub)

    def count_waiting(self) -> None:
        """Count what waits, equal events together. Safe in any thread."""
        if events := taken(self._policy_events):
            self._count_decisions(events)
        if works := taken(self._work_events):
            self._count_work(works)
        if ends := taken(self._settlement_events):
            self._settlements.count(ends)
        if self._cache_events:
            for (kind, cache), number in tally(taken(self._cache_events)).items():
                self._cache.labels(cache, kind).inc(number)

    def _count_decisions(self, events: Sequence[PolicyEvent]) -> None:
        times: dict[tuple[str, str, bool], int] = {}
        trips: list[float] = []
        for policy, verdict, _, shadowed, degraded, store_s, _, _ in events:
            key = (policy, verdict, bool(shadowed))
            times[key] = times.get(key, 0) + 1
            if degraded:
                self._degraded.labels(policy).inc()
            elif store_s:
                trips.append(store_s)
        for key, number in times.items():
            counter = self._decision.get(key)
            if counter is None:
                counter = self._decision[key] = self._decisions.labels(
                    *key[:2], "true" if key[2] else "false"
                )
            counter.inc(number)
        if trips:
            observe_all(self._store_time, trips)

    def _count_work(self, events: Sequence[WorkEvent]) -> None:
        took: defaultdict[str, list[float]] = defaultdict(list)
        for policy, duration_s, outcome in events:
            took[policy].append(duration_s)
            if outcome != "ok":
                self._failures.labels(policy, outcome).inc()
        for policy, durations in took.items():
            histogram = self._work_of.get(policy)
            if histogram is None:
                histogram = self._work_of[policy] = self._work.labels(policy)
            observe_all(histogram, durations)
