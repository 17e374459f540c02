"""The lines that are built for jobs that succeeded say what structlog would have written."""

import logging
from collections.abc import Iterator, Sequence
from uuid import UUID

import orjson
import pytest
import structlog

from app.core.observability import JobEvent, LogSink, configure_logging, log_sink
from app.core.observability._job_log import JobLog

FIRST = JobEvent(
    "send",
    "mails",
    "succeeded",
    "succeeded",
    UUID(int=7),
    1,
    0.0123456,
    2.5,
    1_790_000_000.25,
    "ann",
    "f" * 32,
)
EVENTS = [
    FIRST,
    FIRST._replace(submitter=None, trace_id=None),
    FIRST._replace(submitter='"\n\\\u2028ä\x00', trace_id='"'),
    FIRST._replace(job='a"b', queue="ü", status="\\"),
    FIRST._replace(attempt=32_767, duration_s=0.0, waited_s=-0.25),
    FIRST._replace(duration_s=1e-9, waited_s=31_622_400.1234567),
]


@pytest.fixture(autouse=True)
def json_lines(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """What is written shows in the tap; restores the process's logging afterwards."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    configure_logging(format="json", service="shop")
    yield
    root.handlers[:], root.level = handlers, level
    structlog.configure(**configuration)


def written(events: Sequence[JobEvent], *, is_json: bool = True, shows_info: bool = True) -> list[bytes]:
    writes = list[bytes]()
    with log_sink.tapped(writes.append):
        JobLog(log_sink, is_json=is_json, shows_info=shows_info, service="shop")(events)
    return b"\n".join(writes).splitlines()


@pytest.mark.parametrize("event", EVENTS)
def test_a_line_is_what_structlog_writes(event: JobEvent) -> None:
    ((ours,), (theirs,)) = (
        [orjson.loads(line) for line in written([event], is_json=is_json)] for is_json in (True, False)
    )
    assert ours.pop("timestamp") == "2026-09-21T14:13:20.250000+00:00"
    del theirs["timestamp"]  # when it was written
    assert ours == theirs


def test_lines_keep_the_order_of_their_events_and_neighbours_are_one_write() -> None:
    sink, writes = LogSink(), list[bytes]()
    failed = FIRST._replace(outcome="failed", status="failed")
    with sink.tapped(writes.append), log_sink.tapped(writes.append):
        JobLog(sink, is_json=True)([FIRST, FIRST, failed, FIRST])
    events = [[orjson.loads(line)["event"] for line in write.splitlines()] for write in writes]
    assert events == [["job.succeeded"] * 2, ["job.failed"], ["job.succeeded"]]


def test_above_info_only_what_did_not_succeed_is_written() -> None:
    lines = written([FIRST, FIRST._replace(outcome="dead", status="dead")], shows_info=False)
    assert [(line["event"], line["level"]) for line in map(orjson.loads, lines)] == [("job.dead", "error")]
