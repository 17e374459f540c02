"""Metrics of what requests had taken: claims, slots and credits, by what became of them."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from app.core.observability._events import Event, EventHub, HoldsEvent, SettlementEvent


class SettlementMetrics:
    """``count`` is fed in batches, as there may be a settlement per request. Labels are names from the code."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._settlements = Counter(
            "gatehouse_settlements_total",
            "Ends of claims, slots and holds, and takeovers of claims",
            ["policy", "outcome"],
            registry=registry,
        )
        self._counter: dict[SettlementEvent, Counter] = {}
        self._holds = Gauge(
            "gatehouse_holds_open",
            "Holds of credits at the last turn of the sweeper; meaningful where the sweeper leads",
            multiprocess_mode="livemostrecent",
            registry=registry,
        )

    def subscribe(self, hub: EventHub) -> None:
        """Note every count of open holds that the hub carries from now on."""
        hub.subscribe(HoldsEvent, self._on_holds)

    def count(self, event: SettlementEvent) -> None:
        """One more."""
        counter = self._counter.get(event)
        if counter is None:
            counter = self._counter[event] = self._settlements.labels(*event)
        counter.inc()

    def _on_holds(self, event: Event) -> None:
        assert isinstance(event, HoldsEvent)  # noqa: S101 - by subscription
        self._holds.set(event.open)
