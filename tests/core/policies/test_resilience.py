"""Deadline, retry, breaker, attempt timeout and bulkhead together."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.orm.exc import StaleDataError

from app.core.context import RequestContext, current_context, reset_context, set_context
from app.core.errors import ConfigurationError, DeadlineExceeded, NotFound, PolicyRejected, Unavailable
from app.core.observability import Event, EventHub, RetryEvent
from app.core.policies import Breaker, Bulkhead, CircuitOpen, JobConfig, NoCapacity, Resilience, Retry
from app.core.resilience import (
    AttemptTimeout,
    Breakers,
    BreakerState,
    ManualClock,
    RollingBreaker,
    SystemClock,
    remaining_s,
)
from tests.cases import each_case


class Lost(ConnectionError):
    """Something that may pass."""


class Bench:
    """One policy's resilience; waits between attempts are recorded."""

    def __init__(self, clock: Any = None, **options: Any) -> None:
        self.clock = clock or SystemClock()
        self.waits: list[float] = []
        self.events: list[Event] = []
        self.hub = EventHub()
        self.hub.subscribe(RetryEvent, self.events.append)
        self.breakers = Breakers(clock=self.clock, rng=lambda: 0.0, hub=self.hub)
        self.resilience = Resilience(
            "work", JobConfig(**options), breakers=self.breakers, clock=self.clock, rng=lambda: 1.0,
            sleep=self._sleep, sleep_in_thread=self.waits.append,
        )  # fmt: skip
        self.calls = 0

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    @property
    def breaker(self) -> RollingBreaker:
        found = self.breakers.find("weather")
        assert found is not None
        return found

    @property
    def state(self) -> BreakerState:
        return self.breaker.snapshot()

    def failing(self, error: BaseException, times: int = 10**9) -> Callable[[], Awaitable[str]]:
        async def call() -> str:
            self.calls += 1
            if self.calls <= times:
                raise error
            return "done"

        return call

    async def fail(self, error: BaseException, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(type(error)):
                await self.resilience.run(self.failing(error))


async def forever() -> None:
    await asyncio.Event().wait()


async def done() -> str:
    return "done"


def weather(**numbers: Any) -> Breaker:
    return Breaker(dependency="weather", **{"min_calls": 4, **numbers})


RETRY = Retry(retry_safe=True, attempts=3)


class TestIdle:
    def test_without_options_there_is_nothing_to_do(self) -> None:
        assert Bench().resilience.is_idle
        assert Bench(retry=Retry(retry_safe=True, attempts=1)).resilience.is_idle

    @each_case(
        "options",
        [
            {"retry": RETRY}, {"circuit_breaker": weather()}, {"bulkhead": Bulkhead(max=1)},
            {"retry": Retry(retry_safe=True, attempts=1, attempt_timeout=1)},
        ],
        ids="-".join,
    )  # fmt: skip
    def test_each_option_is_something_to_do(self, options: dict[str, Any]) -> None:
        assert not Bench(**options).resilience.is_idle


class TestDeadline:
    async def test_nothing_is_started_when_the_time_is_over(self) -> None:
        bench = Bench(circuit_breaker=weather(min_calls=1), retry=RETRY)
        with pytest.raises(DeadlineExceeded):
            await bench.resilience.run(bench.failing(Lost()), deadline=bench.clock.monotonic())
        assert (bench.calls, bench.state.calls) == (0, 0)

    async def test_work_is_cut_off_at_the_deadline_and_counts_as_failed(self) -> None:
        bench = Bench(circuit_breaker=weather())
        with pytest.raises(DeadlineExceeded) as refusal:
            await bench.resilience.run(forever, deadline=bench.clock.monotonic() + 0.01)
        assert not isinstance(refusal.value, AttemptTimeout)
        assert refusal.value.extensions == {"policy": "work"}
        assert (bench.state.calls, bench.state.failures) == (1, 1)

    async def test_the_contexts_earlier_deadline_counts(self) -> None:
        bench = Bench(retry=RETRY)
        token = set_context(RequestContext(deadline=bench.clock.monotonic()))
        try:
            with pytest.raises(DeadlineExceeded):
                await bench.resilience.run(done, deadline=bench.clock.monotonic() + 60)
        finally:
            reset_context(token)

    async def test_work_knows_what_is_left_to_its_attempt(self) -> None:
        bench = Bench(retry=Retry(retry_safe=True, attempt_timeout=5))
        seen: list[float | None] = []

        async def look() -> None:
            seen.append(remaining_s())

        await bench.resilience.run(look, deadline=bench.clock.monotonic() + 60)
        assert seen[0] is not None
        assert 4 < seen[0] <= 5
        assert current_context().deadline is None
        assert (remaining_s(), remaining_s(7.0)) == (None, 7.0)

    async def test_a_timeout_of_the_works_own_stays_what_it_is(self) -> None:
        bench = Bench(circuit_breaker=weather())
        with pytest.raises(TimeoutError, match="of its own"):
            await bench.resilience.run(
                bench.failing(TimeoutError("of its own")), deadline=bench.clock.monotonic() + 60
            )


class TestRetry:
    async def test_an_attempt_that_takes_too_long_is_followed_by_another(self) -> None:
        bench = Bench(retry=Retry(retry_safe=True, attempts=2, attempt_timeout=0.01, exceptions=(Lost,)))
        began = 0

        async def slow_at_first() -> str:
            nonlocal began
            began += 1
            if began == 1:
                await forever()
            return "done"

        assert await bench.resilience.run(slow_at_first) == "done"
        assert began == 2

    async def test_the_last_attempt_that_takes_too_long_is_504(self) -> None:
        bench = Bench(retry=Retry(retry_safe=True, attempts=2, attempt_timeout=0.005))
        with pytest.raises(AttemptTimeout) as refusal:
            await bench.resilience.run(forever)
        assert refusal.value.status == 504
        assert [event[-1] for event in bench.events] == ["retried", "exhausted"]

    async def test_each_attempt_is_a_call_to_the_breaker(self) -> None:
        bench = Bench(retry=RETRY, circuit_breaker=weather())
        assert await bench.resilience.run(bench.failing(Lost(), times=2)) == "done"
        assert (bench.state.calls, bench.state.failures) == (3, 2)

    async def test_an_open_circuit_ends_the_attempts(self) -> None:
        bench = Bench(retry=RETRY, circuit_breaker=weather(min_calls=2))
        with pytest.raises(CircuitOpen):
            await bench.resilience.run(bench.failing(Lost()))
        assert bench.calls == 2

    @each_case("error", [CircuitOpen(), NoCapacity(), PolicyRejected()], ids=repr)
    async def test_our_own_refusals_are_not_repeated_even_when_named(self, error: Exception) -> None:
        bench = Bench(retry=Retry(retry_safe=True, exceptions=(Exception,)))
        await bench.fail(error)
        assert bench.calls == 1

    async def test_cancellation_is_neither_repeated_nor_counted(self) -> None:
        bench = Bench(retry=RETRY, circuit_breaker=weather(min_calls=1))
        began = 0

        async def work() -> None:
            nonlocal began
            began += 1
            await forever()

        for _ in range(3):
            task = asyncio.create_task(bench.resilience.run(work, deadline=bench.clock.monotonic() + 60))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (began, bench.state.state, bench.state.calls) == (3, "closed", 0)

    async def test_attempts_but_the_last_are_surrounded_and_what_cannot_be_repeated_is_not(self) -> None:
        class Surrounding:
            is_repeatable = True

            async def __aenter__(self) -> None:
                entered.append(self)

            async def __aexit__(self, *error: object) -> None:
                self.is_repeatable = len(entered) < repeatable

        repeatable, entered = 9, list[Surrounding]()
        bench = Bench(retry=RETRY)
        with pytest.raises(Lost):
            await bench.resilience.run(bench.failing(Lost()), attempt=Surrounding)
        assert (bench.calls, len(entered)) == (3, 2)
        repeatable, entered[:] = 1, []
        with pytest.raises(Lost):
            await bench.resilience.run(bench.failing(Lost()), attempt=Surrounding)
        assert (bench.calls, len(entered)) == (4, 1)

    async def test_a_storm_is_not_multiplied(self) -> None:
        bench = Bench(clock=ManualClock(), retry=Retry(retry_safe=True, attempts=3, budget=0.1))
        for _ in range(3000):
            await bench.fail(Lost())
        assert bench.calls <= 3000 * 1.1 + 100


class TestBreaker:
    @each_case(
        "error",
        [NotFound(), PolicyRejected(), CircuitOpen(), NoCapacity(), StaleDataError()],
        ids=lambda error: type(error).__name__,
    )
    async def test_what_says_nothing_about_the_dependency_is_not_counted(self, error: Exception) -> None:
        bench = Bench(circuit_breaker=weather(min_calls=1))
        await bench.fail(error, 3)
        assert bench.state.calls == 0

    async def test_failures_open_it_and_the_gate_is_told(self) -> None:
        bench = Bench(circuit_breaker=weather())
        assert bench.resilience.open_circuit() is None
        await bench.fail(Unavailable(), 4)
        refusal = bench.resilience.open_circuit()
        assert refusal is not None
        assert (refusal.status, refusal.retry_after) == (503, 6)  # 5 s, and a tenth
        assert refusal.extensions == {"policy": "work", "reason": "circuit_open"}
        with pytest.raises(CircuitOpen):
            await bench.resilience.run(done)

    async def test_an_answer_that_says_5xx_is_a_failure(self) -> None:
        bench = Bench(circuit_breaker=weather(min_calls=9))

        async def answer(status: int) -> Any:
            return SimpleNamespace(status_code=status)

        for status in (200, 404, 500, 503):
            await bench.resilience.run(lambda status=status: answer(status))  # type: ignore[misc]
        assert (bench.state.calls, bench.state.failures) == (4, 2)

    async def test_two_hundred_at_once_are_exactly_so_many_probes(self) -> None:
        clock = ManualClock()
        bench = Bench(clock=clock, circuit_breaker=weather(probes=3))
        await bench.fail(Lost(), 4)
        clock.advance(5)
        release, began = asyncio.Event(), 0

        async def work() -> None:
            nonlocal began
            began += 1
            await release.wait()

        tasks = [asyncio.create_task(bench.resilience.run(work)) for _ in range(200)]
        await asyncio.sleep(0)
        release.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert began == 3
        assert sum(isinstance(result, CircuitOpen) for result in results) == 197
        assert bench.state.state == "closed"

    async def test_a_cancelled_probe_lets_the_next_one_try(self) -> None:
        clock = ManualClock()
        bench = Bench(clock=clock, circuit_breaker=weather())
        await bench.fail(Lost(), 4)
        clock.advance(5)
        probe = asyncio.create_task(bench.resilience.run(forever))
        await asyncio.sleep(0)
        assert bench.resilience.open_circuit() is not None
        probe.cancel()
        await asyncio.wait([probe])
        assert await bench.resilience.run(done) == "done"
        assert bench.state.state == "closed"

    async def test_all_breakers_must_agree_and_none_keeps_a_place(self) -> None:
        clock = ManualClock()
        maps = Breaker(dependency="maps", min_calls=1, open_for=60)
        bench = Bench(clock=clock, circuit_breaker=(weather(min_calls=1), maps))
        await bench.fail(Lost())
        clock.advance(5)
        for _ in range(3):
            with pytest.raises(CircuitOpen):
                await bench.resilience.run(done)
        clock.advance(55)
        assert await bench.resilience.run(done) == "done"
        assert [state.state for state in bench.breakers.states()] == ["closed", "closed"]

    def test_unequal_numbers_are_refused(self) -> None:
        bench = Bench(circuit_breaker=weather())
        with pytest.raises(ConfigurationError, match="weather"):
            Resilience("other", JobConfig(circuit_breaker=weather(min_calls=5)), breakers=bench.breakers)


class TestBulkhead:
    async def test_what_does_not_fit_is_refused_at_once(self) -> None:
        bench = Bench(bulkhead=Bulkhead(max=1), circuit_breaker=weather(min_calls=1), retry=RETRY)
        first = asyncio.create_task(bench.resilience.run(forever))
        await asyncio.sleep(0)
        with pytest.raises(NoCapacity) as refusal:
            await bench.resilience.run(done)
        assert refusal.value.extensions == {"policy": "work", "reason": "bulkhead"}
        assert 1 <= refusal.value.retry_after <= 4
        first.cancel()
        await asyncio.wait([first])
        assert await bench.resilience.run(done) == "done"
        assert (bench.state.calls, bench.state.failures) == (1, 0)

    @each_case("deadline_s", [0.01, None])
    async def test_who_waits_in_vain_is_refused_and_nothing_is_counted(
        self, deadline_s: float | None
    ) -> None:
        timeout = 60 if deadline_s else 0.01
        bench = Bench(bulkhead=Bulkhead(max=1, queue=1, queue_timeout=timeout), circuit_breaker=weather())
        first = asyncio.create_task(bench.resilience.run(forever))
        await asyncio.sleep(0)
        deadline = bench.clock.monotonic() + deadline_s if deadline_s else None
        with pytest.raises(NoCapacity):
            await bench.resilience.run(done, deadline=deadline)
        first.cancel()
        await asyncio.wait([first])
        assert bench.state.calls == 0

    async def test_no_place_is_held_between_attempts(self) -> None:
        bench = Bench(bulkhead=Bulkhead(max=1), retry=RETRY)
        in_use: list[int] = []

        async def sleep(_: float) -> None:
            places = bench.resilience._places
            assert places is not None
            in_use.append(places.in_use)

        assert bench.resilience._retrier is not None
        bench.resilience._retrier._sleep = sleep
        await bench.resilience.run(bench.failing(Lost(), times=1))
        assert in_use == [0]


class TestThreads:
    def test_a_plain_function_is_repeated_and_counted(self) -> None:
        bench, results = Bench(retry=RETRY, circuit_breaker=weather()), iter([Lost(), "done"])

        def work() -> str:
            result = next(results)
            if isinstance(result, Exception):
                raise result
            return str(result)

        assert bench.resilience.run_in_thread(work) == "done"
        assert bench.waits == pytest.approx([0.1])
        assert (bench.state.calls, bench.state.failures) == (2, 1)

    def test_it_is_not_started_when_the_time_is_over(self) -> None:
        bench = Bench(retry=RETRY)
        with pytest.raises(DeadlineExceeded):
            bench.resilience.run_in_thread(lambda: "done", deadline=bench.clock.monotonic())

    def test_places_are_held_until_the_thread_ends(self) -> None:
        bench = Bench(bulkhead=Bulkhead(max=1))
        begun, release = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            release.wait(30)

        thread = threading.Thread(target=bench.resilience.run_in_thread, args=(work,))
        thread.start()
        begun.wait(30)
        with pytest.raises(NoCapacity):
            bench.resilience.run_in_thread(lambda: None)
        release.set()
        thread.join()
        bench.resilience.run_in_thread(lambda: None)


class TestStreams:
    async def test_a_stream_holds_its_place_to_its_end(self) -> None:
        bench = Bench(bulkhead=Bulkhead(max=1), circuit_breaker=weather())
        async with bench.resilience.stream():
            with pytest.raises(NoCapacity):
                await bench.resilience.run(done)
        assert await bench.resilience.run(done) == "done"
        assert bench.state.calls == 2

    async def test_a_reader_who_leaves_says_nothing_about_the_dependency(self) -> None:
        bench = Bench(circuit_breaker=weather())
        with pytest.raises(GeneratorExit), bench.resilience.stream_in_thread():
            raise GeneratorExit
        assert bench.state.calls == 0
