import pytest

from app.core.observability import BreakerEvent, EventHub, Metrics, RetryEvent


def exposed(*events: BreakerEvent | RetryEvent) -> list[str]:
    metrics, hub = Metrics(), EventHub()
    metrics.subscribe(hub)
    for event in events:
        hub.emit(event)
    return metrics.exposition().decode().splitlines()


@pytest.mark.parametrize(
    ("state", "number"), [("closed", 0), ("would_open", 0), ("half_open", 1), ("open", 2), ("isolated", 3)]
)
def test_a_breakers_state_is_a_number_and_its_changes_are_counted(state: str, number: int) -> None:
    lines = exposed(BreakerEvent("weather", "closed"), BreakerEvent("weather", state, "closed"))
    assert f'gatehouse_breaker_state{{dependency="weather"}} {number}.0' in lines
    assert f'gatehouse_breaker_transitions_total{{dependency="weather",state="{state}"}} 1.0' in lines


def test_a_breaker_that_was_just_made_has_not_changed() -> None:
    lines = exposed(BreakerEvent("weather", "closed"))
    assert 'gatehouse_breaker_state{dependency="weather"} 0.0' in lines
    assert not any(line.startswith("gatehouse_breaker_transitions_total{") for line in lines)


def test_what_followed_failed_attempts_is_counted_by_policy() -> None:
    lines = exposed(*[RetryEvent("work", "retried")] * 2, RetryEvent("work", "exhausted"))
    assert 'gatehouse_retries_total{policy="work",verdict="retried"} 2.0' in lines
    assert 'gatehouse_retries_total{policy="work",verdict="exhausted"} 1.0' in lines
