"""The lines of the access log."""

from collections.abc import Sequence

import orjson
import pytest

from app.core.observability import AccessLog, LogSink, RequestRecord

FIRST = RequestRecord(
    1_790_000_000.25, "GET", "/records", 200, 0.0123456, 42, "r-1", "192.0.2.1", "alice", "p", "admitted"
)
LINE = {
    "timestamp": "2026-09-21T14:13:20.250000+00:00",
    "level": "info",
    "event": "http.request",
    "service": "shop",
    "method": "GET",
    "route": "/records",
    "status": 200,
    "duration_ms": 12.345,
    "bytes": 42,
    "request_id": "r-1",
    "client_ip": "192.0.2.1",
    "principal": "alice",
    "policy": "p",
    "outcome": "admitted",
}


@pytest.fixture(autouse=True)
def stdout_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """What is written shows in the tap."""


def written(records: Sequence[RequestRecord], **options: bool) -> list[bytes]:
    sink, writes = LogSink(), list[bytes]()
    with sink.tapped(writes.append):
        AccessLog(sink, is_json=True, service="shop", **options)(records)
    assert len(writes) <= 1  # of a batch
    return b"".join(writes).splitlines()


class TestLines:
    def test_of_a_request_have_these_fields_in_this_order(self) -> None:
        (line,) = written([FIRST])
        assert list(orjson.loads(line).items()) == list(LINE.items())

    def test_of_a_batch_are_those_of_its_requests(self) -> None:
        records = [
            FIRST,
            FIRST._replace(ended_at=1_790_000_001.0, duration_s=2.0, size=0, request_id="r-2"),
            FIRST._replace(client_ip=None, principal_id='"\n\u2028ä', request_id="r-3"),
            FIRST._replace(status=503, outcome="shed", policy=None, principal_id=None),
            FIRST._replace(method="POST"),
            FIRST._replace(status=503, outcome="shed", policy=None, principal_id="bob"),
            FIRST,
        ]
        assert written(records) == [line for record in records for line in written([record])]
        assert [orjson.loads(line)["level"] for line in written(records)] == [
            "info", "info", "info", "error", "info", "error", "info",
        ]  # fmt: skip

    def test_of_what_is_not_logged_are_those_of_errors(self) -> None:
        quiet = [FIRST._replace(is_logged=False), FIRST._replace(status=500, is_logged=False)]
        assert [orjson.loads(line)["status"] for line in written(quiet)] == [500]
        assert [orjson.loads(line)["status"] for line in written([FIRST, quiet[1]], shows_info=False)] == [
            500
        ]
        assert written(quiet[:1]) == []
