"""What a log line looks like, whoever wrote it."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app.core.context import Principal, RequestContext, reset_context, set_context
from app.core.observability import AccessLog, LogSink, RequestRecord, access_log, configure_logging, log_sink

RECORD = RequestRecord(
    0.0,
    "GET",
    "/records/{record_id}",
    200,
    0.0123456,
    42,
    "r-1",
    "198.51.100.7",
    "u-1",
    "read_records",
    "admitted",
)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Every line that is written; restores the process's logging afterwards."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    written: list[str] = []
    with log_sink.tapped(lambda text: written.extend(text.decode().splitlines())):
        yield written
    root.handlers[:], root.level = handlers, level
    structlog.configure(**configuration)


def parsed(lines: list[str]) -> dict[str, Any]:
    (line,) = lines
    document: dict[str, Any] = json.loads(line)
    return document


class TestConfigureLogging:
    def test_an_event_is_one_json_line(self, lines: list[str]) -> None:
        configure_logging(format="json", service="svc")
        structlog.get_logger("app.x").warning("record.created", record_id="7", note="a\nb")
        event = parsed(lines)
        assert event.pop("timestamp").endswith("Z")
        assert event == {
            "event": "record.created", "level": "warning", "logger": "app.x", "service": "svc", "record_id": "7", "note": "a\nb",
        }  # fmt: skip

    def test_a_librarys_record_looks_the_same(self, lines: list[str]) -> None:
        configure_logging(format="json")
        logging.getLogger("sqlalchemy.pool").error(
            "lost %s", "connection", exc_info=ValueError("password=s3cret")
        )
        event = parsed(lines)
        assert (event["event"], event["level"], event["logger"]) == (
            "lost connection",
            "error",
            "sqlalchemy.pool",
        )
        assert "ValueError" in event["exception"]
        assert "s3cret" not in lines[0]

    def test_lines_say_which_request_they_belong_to(self, lines: list[str]) -> None:
        configure_logging(format="json")
        token = set_context(
            RequestContext(request_id="r-1", policy="read_records", principal=Principal("u-1"), tenant_id="t")
        )
        try:
            structlog.get_logger().info("a.b")
            logging.getLogger("lib").warning("c")
        finally:
            reset_context(token)
        for line in lines:
            assert {
                "request_id": "r-1",
                "policy": "read_records",
                "principal": "u-1",
                "tenant": "t",
            }.items() <= json.loads(line).items()
        assert len(lines) == 2

    def test_secrets_are_redacted_in_fields_text_and_tracebacks(self, lines: list[str]) -> None:
        configure_logging(format="json")
        log = structlog.get_logger()
        try:
            int("postgresql://app:s3cret@db/app")
        except ValueError:
            log.exception(
                "db.failed", password="s3cret", request={"headers": {"authorization": "Bearer s3cret1234"}}
            )
        logging.getLogger("lib").warning("got %r", {"api_key": "s3cret"})
        assert len(lines) == 2
        assert "Traceback" in lines[0]
        assert "s3cret" not in "".join(lines)

    def test_less_severe_events_are_dropped_from_both_sides(self, lines: list[str]) -> None:
        configure_logging("WARNING", "json")
        structlog.get_logger().info("quiet")
        logging.getLogger("lib").info("quiet")
        access_log()([RECORD])
        assert lines == []

    def test_odd_values_do_not_break_a_line(self, lines: list[str]) -> None:
        configure_logging(format="json")
        structlog.get_logger().info(
            "odd", surrogate="\ud800", big=2**80, what={1: {2, 3}}, data=b"x", thing=object
        )
        assert parsed(lines)["big"] == 2**80

    def test_a_log_call_with_wrong_arguments_does_not_raise(
        self, lines: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure_logging(format="json")
        monkeypatch.setattr(logging, "raiseExceptions", False)
        logging.getLogger("lib").warning("%d", "no number")
        assert lines == []

    def test_uvicorns_lines_join_ours_and_its_access_log_is_off(self, lines: list[str]) -> None:
        logging.getLogger("uvicorn").addHandler(logging.StreamHandler(io.StringIO()))
        configure_logging(format="json")
        logging.getLogger("uvicorn.error").info("Started")
        logging.getLogger("uvicorn.access").info("GET /?token=s3cret")
        assert parsed(lines)["event"] == "Started"

    def test_called_twice_each_line_is_written_once(self, lines: list[str]) -> None:
        configure_logging(format="json")
        configure_logging(format="json")
        logging.getLogger("lib").warning("once")
        assert len(lines) == 1

    def test_console_is_for_people(self, lines: list[str]) -> None:
        configure_logging(format="console")
        structlog.get_logger("app.x").info("record.created", record_id="7")
        access_log()([RECORD])
        assert "record.created" in lines[0]
        assert "record_id=7" in lines[0]
        assert "route=/records/{record_id}" in lines[1]

    def test_auto_is_json_when_nobody_watches(self, lines: list[str]) -> None:
        configure_logging(format="auto")
        structlog.get_logger().info("a.b")
        assert parsed(lines)["event"] == "a.b"

    def test_an_unknown_level_is_refused(self) -> None:
        with pytest.raises(KeyError):
            configure_logging("LOUD")


class TestAccessLog:
    def test_a_request_is_one_line_with_everything_and_no_path(self, lines: list[str]) -> None:
        AccessLog(log_sink, is_json=True)([RECORD])
        assert parsed(lines) == {
            "timestamp": "1970-01-01T00:00:00+00:00", "level": "info", "event": "http.request", "service": "gatehouse",
            "method": "GET", "route": "/records/{record_id}", "status": 200, "duration_ms": 12.345, "bytes": 42,
            "request_id": "r-1", "client_ip": "198.51.100.7", "principal": "u-1", "policy": "read_records", "outcome": "admitted",
        }  # fmt: skip

    def test_a_batch_is_a_line_each(self, lines: list[str]) -> None:
        AccessLog(log_sink, is_json=True)([RECORD, RECORD._replace(request_id="r-2")])
        assert [json.loads(line)["request_id"] for line in lines] == ["r-1", "r-2"]

    def test_server_errors_are_errors_and_survive_a_high_level(self, lines: list[str]) -> None:
        AccessLog(log_sink, is_json=True, shows_info=False)([RECORD, RECORD._replace(status=503)])
        assert parsed(lines)["level"] == "error"


class TestLogSink:
    def test_writes_bytes_with_a_newline(self, capsys: pytest.CaptureFixture[str]) -> None:
        LogSink().write("ü".encode())
        assert capsys.readouterr().out == "ü\n"

    def test_takes_a_stdout_without_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stdout", stream)
        LogSink().write(b"a")
        assert stream.getvalue() == "a\n"

    @pytest.mark.parametrize("stream", [None, "closed"])
    def test_a_lost_stdout_loses_the_line_only(
        self, monkeypatch: pytest.MonkeyPatch, stream: str | None
    ) -> None:
        closed = io.TextIOWrapper(io.BytesIO())
        closed.close()
        sink = LogSink()
        monkeypatch.setattr(sys, "stdout", closed if stream else None)
        sink.write(b"a")
        found = io.StringIO()
        monkeypatch.setattr(sys, "stdout", found)
        sink.write(b"b")
        assert found.getvalue() == "b\n"
