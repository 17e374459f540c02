"""The access log: one line per finished request."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from app.core.observability._requests import RequestRecord
from app.core.observability._sink import LogSink


class AccessLog:
    """Writes finished requests. Answers of 500 and above are errors, all others information.

    JSON lines are built here and not by structlog, which costs five times as much. They need no redaction:
    the edge has checked the form of everything that a caller can influence, and paths appear as templates
    only.
    """

    def __init__(
        self, sink: LogSink, *, is_json: bool, shows_info: bool = True, service: str = "gatehouse"
    ) -> None:
        self._sink = sink
        self._is_json = is_json
        self._shows_info = shows_info
        self._service = service

    def __call__(self, records: Sequence[RequestRecord]) -> None:
        """Write a line for each."""
        shown = [
            record for record in records if (self._shows_info and record.is_logged) or record.status >= 500
        ]
        if not shown:
            return
        if self._is_json:
            self._sink.write(self._lines(shown))
            return
        log = structlog.get_logger("app.access")
        for record in shown:
            fields = self._fields(record)
            del fields["timestamp"], fields["level"], fields["service"]
            (log.error if record.status >= 500 else log.info)(fields.pop("event"), **fields)

    def _lines(self, records: Sequence[RequestRecord]) -> bytes:
        """JSON, a line each. Requests of one kind share a dict, of which only what differs is written anew.

        One buffer takes the lines: each is made with room for a kilobyte, and to keep those until a join costs more than making them.
        """
        shared: dict[
            tuple[object, ...], dict[str, Any]
        ] = {}  # not kept: another thread may write other lines
        lines = bytearray()
        for record in records:
            kind = (record.method, record.route, record.status, record.policy, record.outcome)
            fields = shared.get(kind)
            if fields is None:
                fields = shared[kind] = self._fields(record)
            else:
                _fill(fields, record)
            lines += orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        return bytes(lines[:-1])

    def _fields(self, record: RequestRecord) -> dict[str, Any]:
        fields = {
            "timestamp": None,
            "level": "error" if record.status >= 500 else "info",
            "event": "http.request",
            "service": self._service,
            "method": record.method,
            "route": record.route,
            "status": record.status,
            "duration_ms": None,
            "bytes": None,
            "request_id": None,
            "client_ip": None,
            "principal": None,
            "policy": record.policy,
            "outcome": record.outcome,
        }
        _fill(fields, record)
        return fields


def _fill(fields: dict[str, Any], record: RequestRecord) -> None:
    """Write what differs from request to request over what is there."""
    fields["timestamp"] = datetime.fromtimestamp(record.ended_at, UTC)
    fields["duration_ms"] = int(record.duration_s * 1e6) / 1000
    fields["bytes"] = record.size
    fields["request_id"] = record.request_id
    fields["client_ip"] = record.client_ip
    fields["principal"] = record.principal_id
