import pytest

from app.core.observability import EventHub, HoldsEvent, Metrics, SettlementEvent


def exposed(*events: SettlementEvent | HoldsEvent) -> list[str]:
    metrics, hub = Metrics(), EventHub()
    metrics.subscribe(hub)
    for event in events:
        hub.emit(event)
    return metrics.exposition().decode().splitlines()


@pytest.mark.parametrize("outcome", ["settled", "late", "fenced", "failed", "takeover"])
def test_settlements_are_counted_by_policy_and_outcome(outcome: str) -> None:
    lines = exposed(*[SettlementEvent("orders", outcome)] * 2, SettlementEvent("notes", outcome))
    assert f'gatehouse_settlements_total{{outcome="{outcome}",policy="orders"}} 2.0' in lines
    assert f'gatehouse_settlements_total{{outcome="{outcome}",policy="notes"}} 1.0' in lines


def test_the_gauge_of_holds_is_what_the_sweeper_said_last() -> None:
    lines = exposed(HoldsEvent(7), HoldsEvent(3))
    assert "gatehouse_holds_open 3.0" in lines
