"""Metrics of breakers and retries."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from app.core.observability._events import BreakerEvent, Event, EventHub, RetryEvent

_STATES = {"closed": 0, "would_open": 0, "half_open": 1, "open": 2, "isolated": 3}


class ResilienceMetrics:
    """Fed at once, not in batches: these events are rare. Labels are names from the code."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._state = Gauge(
            "gatehouse_breaker_state",
            "0 closed, 1 half open, 2 open, 3 isolated; the worst of all processes",
            ["dependency"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._changes = Counter(
            "gatehouse_breaker_transitions_total",
            "Breakers that went into a state",
            ["dependency", "state"],
            registry=registry,
        )
        self._retries = Counter(
            "gatehouse_retries_total",
            "Failed attempts by what followed",
            ["policy", "verdict"],
            registry=registry,
        )

    def subscribe(self, hub: EventHub) -> None:
        """Count every event of these kinds that the hub carries from now on."""
        hub.subscribe(BreakerEvent, self._on_breaker)
        hub.subscribe(RetryEvent, self._on_retry)

    def _on_breaker(self, event: Event) -> None:
        assert isinstance(event, BreakerEvent)  # noqa: S101 - by subscription
        self._state.labels(event.dependency).set(_STATES[event.state])
        if event.former is not None:
            self._changes.labels(event.dependency, event.state).inc()

    def _on_retry(self, event: Event) -> None:
        assert isinstance(event, RetryEvent)  # noqa: S101 - by subscription
        self._retries.labels(event.policy, event.verdict).inc()
