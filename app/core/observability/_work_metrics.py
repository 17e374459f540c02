"""Metrics of work that no request waits for: periodic tasks and the posting of credits."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.core.observability._events import CreditEvent, Event, EventHub, PeriodicEvent

_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0)


class WorkMetrics:
    """Fed at once, not in batches: these events are rare. Labels are names from the code."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter(
            "gatehouse_periodic_runs_total",
            "Turns of periodic tasks",
            ["task", "outcome"],
            registry=registry,
        )
        self._time = Histogram(
            "gatehouse_periodic_seconds",
            "Time of a run that worked",
            ["task"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._leads = Gauge(
            "gatehouse_periodic_leader",
            "Processes that lead a periodic task: 1 when all is well",
            ["task"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._last = Gauge(
            "gatehouse_periodic_last_success_timestamp_seconds",
            "When a run last went well, in seconds since the epoch",
            ["task"],
            multiprocess_mode="max",
            registry=registry,
        )
        self._credits = Counter(
            "gatehouse_credits_total",
            "Charges by what became of them",
            ["outcome"],
            registry=registry,
        )

    def subscribe(self, hub: EventHub) -> None:
        """Count every event of these kinds that the hub carries from now on."""
        hub.subscribe(PeriodicEvent, self._on_turn)
        hub.subscribe(CreditEvent, self._on_credit)

    def _on_turn(self, event: Event) -> None:
        assert isinstance(event, PeriodicEvent)  # noqa: S101 - by subscription
        self._runs.labels(event.task, event.outcome).inc()
        self._leads.labels(event.task).set(1 if event.leads else 0)
        if event.leads:
            self._time.labels(event.task).observe(event.duration_s)
            if event.outcome == "ok":
                self._last.labels(event.task).set_to_current_time()

    def _on_credit(self, event: Event) -> None:
        assert isinstance(event, CreditEvent)  # noqa: S101 - by subscription
        self._credits.labels(event.outcome).inc(event.charges)
