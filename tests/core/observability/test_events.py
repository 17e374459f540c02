"""The hub between what decides and what watches."""

import pytest

from app.core.observability import Event, EventHub, StoreEvent, WorkEvent


class TestEventHub:
    def test_subscribers_get_their_kind_in_order(self) -> None:
        hub = EventHub()
        seen: list[tuple[str, Event]] = []
        hub.subscribe(StoreEvent, lambda event: seen.append(("first", event)))
        hub.subscribe(StoreEvent, lambda event: seen.append(("second", event)))
        hub.subscribe(WorkEvent, lambda event: seen.append(("other", event)))
        hub.emit(StoreEvent("up"))
        assert seen == [("first", StoreEvent("up")), ("second", StoreEvent("up"))]

    def test_a_subscriber_that_raises_disturbs_nobody(self, capsys: pytest.CaptureFixture[str]) -> None:
        hub = EventHub()
        seen: list[Event] = []

        def broken(event: Event) -> None:
            raise RuntimeError("broken dashboard")

        hub.subscribe(StoreEvent, broken)
        hub.subscribe(StoreEvent, seen.append)
        hub.emit(StoreEvent("up"))
        assert seen == [StoreEvent("up")]
        assert "event.subscriber_failed" in capsys.readouterr().out
