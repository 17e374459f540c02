"""One attempt at a job, under the real engine: who may, what is put off, what counts, and the one line that each attempt logs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from asyncpg.pgproto.pgproto import UUID as DriversUUID  # noqa: N811 - a claimed job's id is of this class
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from app.core.context import Principal
from app.core.errors import Unavailable
from app.core.jobs import (
    Job,
    KnownSubmitters,
    Submitters,
)
from app.core.observability import JobLog, LogSink, Metrics
from app.core.policies import (
    Board,
    Breaker,
    Bulkhead,
    Concurrency,
    Engine,
    Quota,
    RateLimit,
    Retry,
    Security,
    Switch,
    Switches,
)
from app.core.resilience import ManualClock
from app.settings import Settings
from tests.core.jobs.workbench import Workbench, working
from tests.core.jobs.worker.attempts import GATE, Desk, Orders, declared

pytestmark = pytest.mark.usefixtures("own_jobs")
LONG = 86_400.0 * 300


LIMITED = declared("x_limited", rate_limit=RateLimit.fixed_window(limit=1, window=LONG))
COUNTED = declared("x_quota", quota=Quota(per="month", limit=1))
SLOT = declared("x_slot", concurrency=Concurrency(max=1, scope="user"))
PLACE = declared("x_place", bulkhead=Bulkhead(max=1, queue=0))
BROKEN = declared("x_breaker", circuit_breaker=Breaker(dependency="x_mill", min_calls=1, failure_rate=0.01))
TRIED = declared("x_tried", retry=Retry(retry_safe=True, attempts=3, base=0, exceptions=(ZeroDivisionError,)))
PLAIN = declared("x_plain")
ROLE = declared("x_role", security=Security(roles=("cpu_user",), scopes=("run:cpu_job",)))
ALL = (LIMITED, COUNTED, SLOT, PLACE, BROKEN, TRIED, PLAIN, ROLE)


@pytest.fixture(scope="module")
async def bench(settings: Settings) -> AsyncIterator[Workbench]:
    async with working(settings, ALL) as bench:
        yield bench


@pytest.fixture
def desk(bench: Workbench) -> Desk:
    return Desk(bench)


class TestPutOff:
    """None of these is an attempt, and each waits for as long as the refusal says."""

    @pytest.mark.parametrize("job", [LIMITED, COUNTED], ids=lambda job: job.name)
    async def test_a_limit_or_a_quota_that_is_used_up(self, desk: Desk, job: Job[Any]) -> None:
        first, second = await desk.run(job), await desk.run(job)
        assert (first.status, GATE.runs) == ("succeeded", 1)
        assert (second.status, second.is_attempt) == ("queued", False)
        assert second.delay_s > 60
        assert desk.words == ["succeeded", "postponed"]

    @pytest.mark.parametrize("job", [SLOT, PLACE], ids=lambda job: job.name)
    async def test_a_slot_or_a_place_that_others_have(self, desk: Desk, job: Job[Any]) -> None:
        busy = asyncio.create_task(desk.run(job, "wait"))
        await GATE.begun.wait()
        refused = await desk.run(job)
        GATE.open.set()
        assert (await busy).status == "succeeded"
        assert (refused.status, refused.is_attempt, refused.delay_s >= 1) == ("queued", False, True)
        assert (GATE.runs, desk.words) == (1, ["postponed", "succeeded"])

    async def test_a_breaker_that_is_open(self, desk: Desk) -> None:
        failed = await desk.run(BROKEN, "broken")
        refused = await desk.run(BROKEN)
        assert (failed.status, failed.is_attempt) == ("queued", True)
        assert (refused.status, refused.is_attempt, refused.delay_s >= 1) == ("queued", False, True)
        assert (GATE.runs, desk.words) == (1, ["retried", "postponed"])

    async def test_the_kill_switch(self, bench: Workbench) -> None:
        platform = bench.app.platform
        switches = Switches(platform.store)
        desk = Desk(bench, engine=Engine(platform.engine.parts._replace(switches=switches)))
        switches.take(Board(1, (Switch(PLAIN.policy, "off", "why", "admin", "2026-01-01T00:00:00Z"),)))
        refused = await desk.run(PLAIN)
        assert (refused.status, refused.is_attempt, refused.delay_s) == ("queued", False, 60)
        assert (GATE.runs, desk.words) == (0, ["postponed"])

    async def test_a_limit_that_the_handler_asked_for_itself(self, desk: Desk) -> None:
        refused = await desk.run(PLAIN, "limited", attempt=2)
        assert (refused.status, refused.is_attempt, refused.delay_s) == ("queued", False, 9)


class TestAttempts:
    @pytest.mark.parametrize("error", ["broken", "away", "broke"])
    async def test_what_the_handler_raises_counts_and_the_last_time_is_its_death(
        self, desk: Desk, error: str
    ) -> None:
        first, last = await desk.run(PLAIN, error), await desk.run(PLAIN, error, attempt=2)
        assert (first.status, first.is_attempt, first.delay_s) == ("queued", True, 1.0)
        assert (last.status, last.is_attempt) == ("dead", True)
        assert desk.words == ["retried", "dead"]
        assert "hunter2" not in f"{last} {desk.events}"

    async def test_what_says_that_it_cannot_succeed_is_not_tried_again(self, desk: Desk) -> None:
        outcome = await desk.run(PLAIN, "hopeless")
        assert (outcome.status, outcome.error, desk.words) == ("failed", "nothing to be done", ["failed"])

    async def test_a_policy_may_try_it_again_at_once_within_one_attempt(self, desk: Desk) -> None:
        outcome = await desk.run(TRIED, "broken", times=2)
        assert (outcome.status, outcome.result, desk.words) == ("succeeded", b"3", ["succeeded"])


class Rights(Submitters):
    """Says what it is told, and counts how often it was asked."""

    def __init__(self, answer: Principal | Exception | None) -> None:
        self.answer = answer
        self.asked = 0

    async def rights_of(self, submitter: Principal) -> Principal | None:
        assert submitter.id
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class TestRights:
    async def test_a_submitter_who_lacks_a_role_or_a_scope_is_refused_for_good(self, desk: Desk) -> None:
        for who in (
            Principal("a", frozenset({"run:cpu_job"})),
            Principal("b", roles=frozenset({"cpu_user"})),
        ):
            refused = await desk.run(ROLE, who=who)
            assert (refused.status, refused.is_attempt) == ("failed", True)
        assert (await desk.run(ROLE)).status == "succeeded"
        assert (GATE.runs, desk.words) == (1, ["refused", "refused", "succeeded"])

    async def test_what_he_has_now_counts_and_an_outage_is_a_pause(self, bench: Workbench) -> None:
        source = Rights(Principal("him", frozenset({"run:cpu_job"})))
        desk = Desk(bench, submitters=source)
        assert (await desk.run(ROLE)).status == "failed"
        source.answer = None
        assert (await desk.run(ROLE)).error == "The account that submitted this job is closed or blocked."
        source.answer = Unavailable(retry_after=3)
        away = await desk.run(ROLE, attempt=2)
        assert (away.status, away.is_attempt, away.delay_s) == ("queued", False, 3)
        source.answer = Principal("him", frozenset({"run:cpu_job"}), frozenset({"cpu_user"}))
        assert (await desk.run(ROLE)).status == "succeeded"
        assert GATE.seen[0] is source.answer
        assert desk.words == ["refused", "refused", "postponed", "succeeded"]

    async def test_nobody_asks_for_a_job_that_needs_no_rights(self, bench: Workbench) -> None:
        source = Rights(None)
        desk = Desk(bench, submitters=source)
        assert (await desk.run(PLAIN)).status == "succeeded"
        assert (await desk.run(ROLE, who=None)).status == "failed"  # the service itself has no roles
        assert source.asked == 0

    async def test_equal_rights_are_asked_for_once_in_five_seconds(self) -> None:
        source, clock = Rights(None), ManualClock()
        known = KnownSubmitters(source, clock.monotonic)
        him, less = Principal("him", roles=frozenset({"cpu_user"})), Principal("him")
        for who in (him, less, him, less):
            assert await known.rights_of(who) is None
        assert source.asked == 2
        clock.advance(5)
        source.answer = him
        assert await known.rights_of(him) is him
        assert source.asked == 3


class TestTold:
    async def test_a_run_belongs_to_the_trace_of_what_submitted_it(self, bench: Workbench) -> None:
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        desk = Desk(bench, tracer=provider.get_tracer("test"))
        trace = f"00-{'a' * 32}-{'b' * 16}-01"
        outcome = await desk.run(PLAIN, trace=trace)
        await desk.run(PLAIN, "broken", trace=trace, times=2)
        good, bad = exporter.get_finished_spans()
        assert good.parent is not None
        assert (f"{good.context.trace_id:032x}", f"{good.parent.span_id:016x}") == ("a" * 32, "b" * 16)
        attributes = dict(good.attributes or {})
        assert (attributes["job.name"], attributes["job.id"]) == ("x_plain", str(outcome.job_id))
        assert (attributes["job.queue"], attributes["job.attempt"]) == ("default", 1)
        assert attributes["messaging.destination.name"] == "default"
        assert attributes["job.outcome"] == "succeeded"
        assert dict(bad.attributes or {})["error.type"] == "ZeroDivisionError"
        assert (bad.status.is_ok, bad.events) == (False, ())
        context = GATE.seen[1]
        assert context.traceparent == f"00-{'a' * 32}-{bad.context.span_id:016x}-01"
        assert [event.trace_id for event in desk.events] == ["a" * 32] * 2

    async def test_a_job_keeps_the_span_that_submitted_it(self, bench: Workbench) -> None:
        provider = TracerProvider()
        with provider.get_tracer("test").start_as_current_span("submit") as span:
            added = await bench.enqueue(PLAIN, Orders(), delay_s=3600)
        context = span.get_span_context()
        row = await bench.row(added.id)
        await bench.drop(added.id)
        assert (
            row.traceparent == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        )

    async def test_each_attempt_is_one_line_without_what_it_was_about(self, desk: Desk) -> None:
        sink = LogSink()
        log = JobLog(sink, is_json=True, service="s")
        succeeded = await desk.run(PLAIN)
        await desk.run(PLAIN, "broken", times=9)
        await desk.run(PLAIN, "hopeless", times=9)
        lines: list[bytes] = []
        with sink.tapped(lines.append), capture_logs() as capture:
            log([one._replace(job_id=DriversUUID(str(one.job_id))) for one in desk.events])
        (line,) = [orjson.loads(one) for one in lines]
        assert (line["event"], line["level"], line["job"]) == ("job.succeeded", "info", "x_plain")
        assert (line["job_id"], line["attempt"], line["queue"]) == (str(succeeded.job_id), 1, "default")
        assert (line["status"], line["waited_s"], line["submitter"]) == ("succeeded", 0.25, desk.who.id)
        assert [one["event"] for one in capture] == ["job.retried", "job.failed"]
        retried, failed = capture
        assert (retried["error"], retried["log_level"]) == ("ZeroDivisionError", "warning")
        assert "exc_info" in retried
        assert "exc_info" not in failed
        assert not {"arguments", "result"} & {*line, *retried, *failed}

    async def test_they_are_counted_by_job_and_end(self, desk: Desk) -> None:
        metrics = Metrics()
        await desk.run(PLAIN)
        await desk.run(PLAIN)
        await desk.run(PLAIN, "broken", times=9)
        unknown = desk.events[0]._replace(job="made up", outcome="parked", is_known=False)
        metrics.on_jobs([*desk.events, unknown])
        told = metrics.exposition().decode()
        ends = 'gatehouse_job_attempts_total{job="x_plain",outcome="%s",queue="default"} %s'
        assert ends % ("succeeded", "2.0") in told
        assert ends % ("retried", "1.0") in told
        assert 'gatehouse_job_seconds_count{job="x_plain"} 3.0' in told
        assert 'gatehouse_job_wait_seconds_sum{job="x_plain"} 0.75' in told
        assert 'gatehouse_job_attempts_needed_count{job="x_plain"} 2.0' in told
        assert "made up" not in told
        assert 'job="(unknown)"' in told
