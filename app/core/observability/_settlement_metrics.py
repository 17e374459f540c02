"""Metrics of what requests had taken: claims, slots and credits, by what became of them."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from app.core.observability._events import Event, EventHub, HoldsEvent, SettlementEvent
from app.core.observability._tally import tally


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

    def count(self, events: Iterable[SettlementEvent]) -> None:
        """Count them, equal ones together."""
        for event, number in tally(events).items():
            counter = self._counter.get(event)
            if counter is None:
                counter = self._counter[event] = self._settlements.labels(*event)
            counter.inc(number)

    def _on_holds(self, event: Event) -> None:
        assert isinstance(event, HoldsEvent)  # noqa: S101 - by subscription
        self._holds.set(event.open)
