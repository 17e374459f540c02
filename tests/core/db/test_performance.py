import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from typing import Any

import pytest

from app.core.db import QueryDecorator
from app.core.errors import ConfigurationError
from tests.cases import each_case

Logged = list[MutableMapping[str, Any]]


def clock_of(*readings: float) -> Callable[[], float]:
    return iter(readings).__next__


class TestTrackPerformance:
    def test_a_slow_function_is_told_and_its_answer_kept(self, logged: Logged) -> None:
        @QueryDecorator.track_performance(threshold_ms=100, clock=clock_of(1.0, 1.1))
        def expensive(left: int, right: int) -> int:
            """Adds."""
            return left + right

        assert expensive(1, right=2) == 3
        assert (expensive.__name__, expensive.__doc__) == ("expensive", "Adds.")
        assert list(inspect.signature(expensive).parameters) == ["left", "right"]
        (event,) = logged
        assert (event["event"], event["log_level"]) == ("function.slow", "warning")
        assert event["duration_ms"] == pytest.approx(100)
        assert event["function"].endswith(".expensive")

    def test_a_quick_one_is_told_at_debug_only(self, logged: Logged) -> None:
        @QueryDecorator.track_performance(threshold_ms=100, clock=clock_of(1.0, 1.05))
        def quick() -> None: ...

        quick()
        assert [(event["event"], event["log_level"]) for event in logged] == [("function.finished", "debug")]

    async def test_an_async_function_stays_one_and_its_waiting_counts(self, logged: Logged) -> None:
        @QueryDecorator.track_performance(threshold_ms=5)
        async def waiting() -> str:
            await asyncio.sleep(0.02)
            return "done"

        assert inspect.iscoroutinefunction(waiting)
        assert await waiting() == "done"
        assert [event["event"] for event in logged] == ["function.slow"]
        assert logged[0]["duration_ms"] >= 5

    async def test_an_error_goes_through_and_is_named(self, logged: Logged) -> None:
        @QueryDecorator.track_performance(threshold_ms=0)
        async def failing(secret: str) -> None:
            raise ValueError(secret)

        with pytest.raises(ValueError, match="hunter2"):
            await failing("hunter2")
        assert logged[0]["error"] == "ValueError"
        assert "hunter2" not in str(logged)

    def test_calls_at_once_do_not_mix(self, logged: Logged) -> None:
        @QueryDecorator.track_performance(threshold_ms=1500, clock=clock_of(0.0, 1.0, 2.0, 3.0))
        def nested(depth: int) -> None:
            if depth:
                nested(depth - 1)

        nested(1)
        assert [(event["event"], event["duration_ms"]) for event in logged] == [
            ("function.finished", 1000.0), ("function.slow", 3000.0),
        ]  # fmt: skip

    @each_case("threshold", [-1, float("nan"), "100", None, True, len])
    def test_a_threshold_that_is_none_is_refused(self, threshold: Any) -> None:
        with pytest.raises(ConfigurationError, match="threshold_ms"):
            QueryDecorator.track_performance(threshold)

    def test_generators_are_refused(self) -> None:
        def numbers() -> Iterator[int]:
            yield 1

        async def later() -> AsyncIterator[int]:
            yield 1

        for function in (numbers, later):
            with pytest.raises(ConfigurationError, match="generator"):
                QueryDecorator.track_performance()(function)
