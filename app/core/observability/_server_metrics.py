"""Metrics of the servers behind the service: PostgreSQL's statements, whether Valkey answers, and who publishes keys of tokens."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.core.observability._events import (
    DatabaseEvent,
    Event,
    EventHub,
    KeysEvent,
    StoreEvent,
    StoreRefusedEvent,
)

FAST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Seconds, for what takes milliseconds."""
_OPERATIONS = frozenset(
    {"select", "insert", "update", "delete", "with", "begin", "commit", "rollback", "set", "savepoint"}
)
_CODES = frozenset({"WRONGTYPE", "NOPERM", "CROSSSLOT", "MOVED", "ASK", "NOSCRIPT", "ERR"})


class ServerMetrics:
    """Fed at once, not in batches. Operations and codes come from short lists; errors are SQLSTATEs and names of classes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._statements = Histogram(
            "gatehouse_db_statement_seconds",
            "Time of a statement",
            ["operation"],
            buckets=FAST_BUCKETS,
            registry=registry,
        )
        self._statements_of: dict[str, Histogram] = {}
        self._db_errors = Counter(
            "gatehouse_db_errors_total", "Statements that failed", ["error"], registry=registry
        )
        self._store_up = Gauge(
            "gatehouse_store_up", "1 while Valkey answers", multiprocess_mode="livemin", registry=registry
        )
        self._store_changes = Counter(
            "gatehouse_store_transitions_total", "Valkey became up or down", ["state"], registry=registry
        )
        self._store_errors = Counter(
            "gatehouse_store_errors_total",
            "Calls that Valkey refused while it was up",
            ["code"],
            registry=registry,
        )

        self._key_fetches = Counter(
            "gatehouse_token_key_fetches_total",
            "Fetches of another issuer's keys",
            ["outcome"],
            registry=registry,
        )

    def subscribe(self, hub: EventHub) -> None:
        """Count every event of these kinds that the hub carries from now on."""
        hub.subscribe(DatabaseEvent, self._on_statement)
        hub.subscribe(StoreEvent, self._on_store)
        hub.subscribe(StoreRefusedEvent, self._on_refused)
        hub.subscribe(KeysEvent, self._on_keys)

    def _on_statement(self, event: Event) -> None:
        assert isinstance(event, DatabaseEvent)  # noqa: S101 - by subscription
        operation = event.operation if event.operation in _OPERATIONS else "other"
        histogram = self._statements_of.get(operation)
        if histogram is None:
            histogram = self._statements_of[operation] = self._statements.labels(operation)
        histogram.observe(event.duration_s)
        if event.error is not None:
            self._db_errors.labels(event.error).inc()

    def _on_store(self, event: Event) -> None:
        assert isinstance(event, StoreEvent)  # noqa: S101 - by subscription
        self._store_up.set(1 if event.state == "up" else 0)
        self._store_changes.labels(event.state).inc()

    def _on_keys(self, event: Event) -> None:
        assert isinstance(event, KeysEvent)  # noqa: S101 - by subscription
        self._key_fetches.labels(event.outcome).inc()

    def _on_refused(self, event: Event) -> None:
        assert isinstance(event, StoreRefusedEvent)  # noqa: S101 - by subscription
        self._store_errors.labels(event.code if event.code in _CODES else "other").inc()
