"""Retrier and retry_decorator: waits are recorded, never slept."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from app.core.context import RequestContext, reset_context, set_context
from app.core.errors import (
    ConfigurationError,
    Conflict,
    DeadlineExceeded,
    GatehouseError,
    PolicyRejected,
    Unavailable,
)
from app.core.resilience import (
    AttemptTimeout,
    ManualClock,
    Retrier,
    RetryBudget,
    RetryRules,
    is_transient,
    retry_decorator,
)
from tests.cases import each_case


class Lost(ConnectionError):
    """Something that may pass."""


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, error: Callable[[], BaseException] = Lost) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self, *_: Any) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error()
        return "done"

    async def again(self, *_: Any) -> str:
        return self()


class Bench:
    """A Retrier on a clock that its own waits move."""

    def __init__(
        self, *, rng: Callable[[], float] = lambda: 1.0, share: float = 0.2, reserve: float = 10, **rules: Any
    ) -> None:
        self.clock = ManualClock()
        self.waits: list[float] = []
        self.verdicts: list[str] = []
        self.budget = RetryBudget(share, reserve_per_s=reserve, clock=self.clock)
        self.retrier = Retrier(
            RetryRules(**rules), budget=self.budget, clock=self.clock, rng=rng, sleep=self._sleep,
            sleep_in_thread=self._wait, report=self.verdicts.append,
        )  # fmt: skip

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    async def _sleep(self, seconds: float) -> None:
        self._wait(seconds)


class TestRetrier:
    async def test_what_fails_and_then_works_is_a_success(self) -> None:
        bench, work = Bench(), Flaky(2)
        assert await bench.retrier.run(work.again) == "done"
        assert (work.calls, bench.verdicts) == (3, ["retried", "retried"])

    async def test_the_last_error_stands_after_the_last_attempt(self) -> None:
        bench, work = Bench(attempts=2), Flaky(9)
        with pytest.raises(Lost):
            await bench.retrier.run(work.again)
        assert (work.calls, bench.verdicts) == (2, ["retried", "exhausted"])

    @each_case(("drawn", "waits"), [(1.0, [0.1, 0.2, 0.4, 0.5]), (0.5, [0.05, 0.1, 0.2, 0.25])])
    async def test_waits_are_a_random_share_of_doubling_times_up_to_the_cap(
        self, drawn: float, waits: list[float]
    ) -> None:
        bench = Bench(rng=lambda: drawn, attempts=5, base=0.1, cap=0.5)
        await bench.retrier.run(Flaky(4).again)
        assert bench.waits == pytest.approx(waits)

    async def test_it_waits_as_long_as_the_error_asks(self) -> None:
        bench = Bench(rng=lambda: 0.0)
        await bench.retrier.run(Flaky(1, lambda: Unavailable(retry_after=3)).again)
        assert bench.waits == [3]

    async def test_it_does_not_wait_for_longer_than_the_cap_because_an_error_asks(self) -> None:
        bench, work = Bench(cap=5), Flaky(1, lambda: Unavailable(retry_after=6))
        with pytest.raises(Unavailable):
            await bench.retrier.run(work.again)
        assert (bench.waits, bench.verdicts) == ([], ["no_time"])

    @each_case(("left", "calls"), [(0.0, 1), (0.1, 1), (0.11, 2)])
    async def test_it_does_not_wait_beyond_the_deadline(self, left: float, calls: int) -> None:
        bench, work = Bench(attempts=2), Flaky(9)
        with pytest.raises(Lost):
            await bench.retrier.run(work.again, deadline=bench.clock.monotonic() + left)
        assert work.calls == calls

    @each_case(
        "error",
        [PolicyRejected, Conflict, DeadlineExceeded, ConfigurationError, ValueError, asyncio.CancelledError],
    )
    async def test_these_are_never_repeated(self, error: type[BaseException]) -> None:
        bench, work = Bench(), Flaky(1, error)
        with pytest.raises(error):
            await bench.retrier.run(work.again)
        assert work.calls == 1

    async def test_a_refusal_is_not_repeated_whatever_classes_are_named(self) -> None:
        bench, work = Bench(exceptions=(Exception,)), Flaky(1, PolicyRejected)
        with pytest.raises(PolicyRejected):
            await bench.retrier.run(work.again)
        assert work.calls == 1

    async def test_named_classes_replace_the_usual_ones(self) -> None:
        bench = Bench(exceptions=(KeyError,))
        assert await bench.retrier.run(Flaky(1, KeyError).again) == "done"
        with pytest.raises(Lost):
            await bench.retrier.run(Flaky(1).again)

    async def test_what_must_not_be_repeated_is_not(self) -> None:
        bench, work = Bench(), Flaky(1)
        with pytest.raises(Lost):
            await bench.retrier.run(work.again, may_repeat=lambda _error: False)
        assert (work.calls, bench.verdicts) == (1, ["final"])

    async def test_a_storm_is_not_multiplied(self) -> None:
        bench, work = Bench(reserve=0), Flaky(10**9)
        requests = 2000
        for _ in range(requests):
            with pytest.raises(Lost):
                await bench.retrier.run(work.again)
        assert 1.0 < work.calls / requests <= 1.2
        assert bench.verdicts.count("no_budget") > requests / 2

    async def test_the_budget_fills_again(self) -> None:
        bench = Bench(share=0, reserve=0.1)
        with pytest.raises(Lost):
            await bench.retrier.run(Flaky(2).again)
        bench.clock.advance(10)
        assert await bench.retrier.run(Flaky(1).again) == "done"

    def test_a_plain_function_is_tried_in_its_thread(self) -> None:
        bench, work = Bench(), Flaky(2)
        assert bench.retrier.run_in_thread(work) == "done"
        assert bench.waits == pytest.approx([0.1, 0.2])
        with pytest.raises(Lost):
            bench.retrier.run_in_thread(Flaky(9), deadline=bench.clock.monotonic() + 0.1)


class _Driver(Exception):
    def __init__(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            setattr(self, name, value)


@each_case(
    ("error", "is_so"),
    [
        (GatehouseError(), True), (Unavailable(), True), (TimeoutError(), True), (ConnectionResetError(), True),
        (AttemptTimeout(), True), (_Driver(status_code=502), True), (_Driver(sqlstate="40001"), True),
        (_Driver(orig=_Driver(sqlstate="08006")), True), (_Driver(connection_invalidated=True), True),
        (_Driver(sqlstate="23505"), False), (_Driver(status_code=404), False), (DeadlineExceeded(), False),
        (ConfigurationError(), False), (PolicyRejected(), False), (ValueError(), False), (KeyboardInterrupt(), False),
    ],
    ids=repr,
)  # fmt: skip
def test_what_may_pass(error: BaseException, is_so: bool) -> None:
    assert is_transient(error) is is_so


def instant() -> Retrier:
    return Bench().retrier


class TestDecorator:
    async def test_bare_it_tries_three_times_and_keeps_kind_and_signature(self) -> None:
        @retry_decorator
        async def fetch(a: int, *, b: str = "x") -> str:
            """What it does."""
            return b * a

        def original(a: int, *, b: str = "x") -> str:
            raise NotImplementedError

        assert await fetch(2, b="y") == "yy"
        assert inspect.iscoroutinefunction(fetch)
        assert inspect.signature(fetch) == inspect.signature(original)
        assert fetch.__doc__ == "What it does."

    @each_case(
        ("options", "calls"),
        [({}, 3), ({"max_attempts": 2}, 2), ({"max_retries": 5}, 6), ({"max_retries": 0}, 1)],
    )
    async def test_attempts_are_retries_and_one(self, options: dict[str, int], calls: int) -> None:
        work = Flaky(99)

        @retry_decorator(**options, base=0, cap=0)  # type: ignore[call-overload, untyped-decorator, unused-ignore]
        async def fetch() -> str:
            return work()

        with pytest.raises(Lost):
            await fetch()
        assert work.calls == calls

    def test_both_names_at_once_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not both"):
            retry_decorator(max_retries=1, max_attempts=2)

    def test_sync_functions_stay_sync(self) -> None:
        work = Flaky(1, KeyError)

        @retry_decorator(exceptions=KeyError, base=0, cap=0)
        def fetch() -> str:
            return work()

        assert not inspect.iscoroutinefunction(fetch)
        assert fetch() == "done"

    def test_generators_are_refused(self) -> None:
        def stream() -> Any:
            yield 1

        with pytest.raises(TypeError, match="generator"):
            retry_decorator(stream)

    async def test_it_ends_with_the_requests_deadline(self) -> None:
        bench, work = Bench(), Flaky(99)

        @retry_decorator(retrier=bench.retrier)
        async def fetch() -> str:
            return work()

        token = set_context(RequestContext(deadline=bench.clock.monotonic()))
        try:
            with pytest.raises(Lost):
                await fetch()
        finally:
            reset_context(token)
        assert work.calls == 1

    async def test_cancellation_goes_through(self) -> None:
        calls = 0

        @retry_decorator(exceptions=Exception)
        async def fetch() -> None:
            nonlocal calls
            calls += 1
            await asyncio.Event().wait()

        task = asyncio.create_task(fetch())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert calls == 1
