"""api_worker: deadlines, kinds of handlers, reports."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from app.core.http import (
    APIRouter,
    BoundGate,
    Gate,
    GateKit,
    Keeping,
    Ticket,
    TrafficControl,
    api_worker,
    current_ticket,
    enforce_all_policies,
)
from app.core.http._background import Background
from app.core.http._gate import reset_ticket, set_ticket
from app.core.observability import Event, EventHub, WorkEvent, log_sink
from app.core.policies import Admitter, JobConfig, RateLimit
from app.core.resilience import Breakers, Deadlines, SystemClock
from app.core.valkey import StoreDown
from app.settings import Settings
from tests.core.http.gated import READER, as_, routed

FAILED_AUTH = RateLimit.fixed_window("failed_auth", limit=9, window=60, scope="ip")
pytestmark = pytest.mark.usefixtures("clean_store")


class TestKinds:
    def test_a_handler_keeps_its_kind_and_its_signature(self) -> None:
        worker = api_worker(JobConfig())

        async def coroutine(a: int, *, b: str = "x") -> str:
            return b * a

        def function(a: int) -> int:
            return a

        async def async_stream() -> AsyncIterator[int]:
            yield 1

        def stream() -> Iterator[int]:
            yield 1

        assert inspect.iscoroutinefunction(worker(coroutine))
        assert not inspect.iscoroutinefunction(worker(function))
        assert inspect.isasyncgenfunction(worker(async_stream))
        assert inspect.isgeneratorfunction(worker(stream))
        assert inspect.signature(worker(coroutine)) == inspect.signature(coroutine)

    async def test_it_works_outside_a_request(self) -> None:
        @api_worker(JobConfig())
        async def double(n: int) -> int:
            return 2 * n

        assert await double(4) == 8


def app_with(config: JobConfig, handler: Any) -> APIRouter:
    router = APIRouter()
    router.get("/work", dependencies=[enforce_all_policies("work", config)])(api_worker(config)(handler))
    return router


@contextlib.asynccontextmanager
async def serving_work(
    settings: Settings, config: JobConfig, handler: Any
) -> AsyncIterator[tuple[Any, list[Event]]]:
    events: list[Event] = []

    def listen(app: FastAPI) -> None:
        app.state.gatehouse.hub.subscribe(WorkEvent, events.append)

    async with routed(settings, app_with(config, handler), change=listen) as client:
        yield client, events


class TestDeadline:
    async def test_an_async_handler_that_is_not_done_in_time_is_504_and_cancelled(
        self, settings: Settings
    ) -> None:
        cancelled = asyncio.Event()

        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async with serving_work(settings, JobConfig(timeout=0.02), slow) as (client, events):
            answer = await client.get("/work", headers=as_(READER))
        assert answer.status_code == 504
        assert answer.json()["policy"] == "work"
        assert cancelled.is_set()
        assert [event.outcome for event in events if isinstance(event, WorkEvent)] == ["timeout"]

    async def test_a_handlers_own_timeout_is_not_taken_for_the_deadline(self, settings: Settings) -> None:
        async def impatient() -> str:
            try:
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            except TimeoutError:
                return "handled"
            return "never"

        async with serving_work(settings, JobConfig(), impatient) as (client, _):
            assert (await client.get("/work", headers=as_(READER))).json() == "handled"

    async def test_a_sync_handler_is_not_cut_off_in_the_middle(self, settings: Settings) -> None:
        begun: list[Ticket] = []

        def slow() -> str:
            ticket = current_ticket()
            assert ticket is not None
            assert ticket.deadline is not None
            begun.append(ticket)
            while monotonic() <= ticket.deadline:
                pass
            return "done"

        async with serving_work(settings, JobConfig(timeout=0.01), slow) as (client, _):
            answer = await client.get("/work", headers=as_(READER))
        assert answer.status_code == (
            200 if begun else 504
        )  # on a busy machine it may not have begun in time

    async def test_without_a_timeout_there_is_no_deadline(self, settings: Settings) -> None:
        async def quick() -> str:
            return "done"

        async with serving_work(settings, JobConfig(timeout=None), quick) as (client, events):
            assert (await client.get("/work", headers=as_(READER))).status_code == 200
        assert [event.policy for event in events if isinstance(event, WorkEvent)] == ["work"]


async def test_an_error_is_reported_as_one_and_answered_as_a_problem(settings: Settings) -> None:
    async def broken() -> None:
        raise RuntimeError("secret detail")

    async with serving_work(settings, JobConfig(), broken) as (client, events):
        answer = await client.get("/work", headers=as_(READER))
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert [event.outcome for event in events if isinstance(event, WorkEvent)] == ["error"]


async def test_metrics_off_means_no_report(settings: Settings) -> None:
    async def quick() -> str:
        return "done"

    async with serving_work(settings, JobConfig(metrics=False), quick) as (client, events):
        await client.get("/work", headers=as_(READER))
    assert events == []


async def test_logging_off_keeps_the_request_out_of_the_access_log_unless_it_fails(
    settings: Settings,
) -> None:
    lines: list[bytes] = []

    async def quick() -> str:
        return "done"

    async def broken() -> None:
        raise RuntimeError

    with log_sink.tapped(lines.append):
        for handler in (quick, broken):
            async with serving_work(settings, JobConfig(logging=False), handler) as (client, _):
                await client.get("/work", headers=as_(READER))
    statuses = [
        orjson.loads(line)["status"]
        for text in lines
        for line in text.splitlines()
        if b'"http.request"' in line
    ]
    assert statuses == [500]


class TestTracing:
    async def test_a_traced_handler_runs_inside_a_span_of_its_policy(self) -> None:
        exporter, tracer = recording_tracer()
        assert await run_traced(tracer, JobConfig()) == "done"
        assert [span.name for span in exporter.get_finished_spans()] == ["worker work"]

    async def test_tracing_off_makes_no_span(self) -> None:
        exporter, tracer = recording_tracer()
        assert await run_traced(tracer, JobConfig(tracing=False)) == "done"
        assert exporter.get_finished_spans() == ()


def recording_tracer() -> tuple[InMemorySpanExporter, Tracer]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, provider.get_tracer("tests")


async def run_traced(tracer: Tracer, config: JobConfig) -> str:
    class Unreachable:
        def submit(self, *_: Any, **__: Any) -> Any:
            raise StoreDown("not used")

        run = submit

    @api_worker(config)
    async def work() -> str:
        return "done"

    clock = SystemClock()
    kit = GateKit(
        None,
        Admitter(Unreachable(), clock=clock),
        EventHub(),
        clock,
        FAILED_AUTH,
        Deadlines(),
        traffic=TrafficControl(),
        breakers=Breakers(),
        background=Background(),
        keeping=Keeping(),
        tracer=tracer,
    )
    gate = BoundGate(Gate("work", config), kit)
    token = set_ticket(Ticket("work", config, None, None, gate, monotonic() + 5))
    try:
        return await work()
    finally:
        reset_ticket(token)
