"""Runs of handlers and work are reported by how they ended."""

import asyncio
from contextlib import suppress

import pytest

from app.core.errors import DeadlineExceeded
from app.core.observability import Event, EventHub, Run, WorkEvent
from tests.cases import each_case


def reported_by(error: BaseException | None) -> list[Event]:
    hub, events = EventHub(), list[Event]()
    hub.subscribe(WorkEvent, events.append)
    with suppress(BaseException), Run(hub, "work"):
        if error is not None:
            raise error
    return events


@each_case(
    ("error", "outcome"),
    [
        (None, "ok"),
        (ValueError(), "error"),
        (TimeoutError(), "error"),
        (DeadlineExceeded(), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
        (GeneratorExit(), "cancelled"),
    ],
)
def test_its_end_has_a_word(error: BaseException | None, outcome: str) -> None:
    (event,) = reported_by(error)
    assert isinstance(event, WorkEvent)
    assert (event.policy, event.outcome) == ("work", outcome)
    assert 0 <= event.duration_s < 10


def test_without_a_hub_nothing_is_reported() -> None:
    with Run(None, "work"):
        pass
    with pytest.raises(ValueError, match="no"), Run(None, "work"):
        raise ValueError("no")
