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
            self._sink.write(b"\n".join([orjson.dumps(self._fields(record)) for record in shown]))
            return
        log = structlog.get_logger("app.access")
        for record in shown:
            fields = self._fields(record)
            del fields["timestamp"], fields["level"], fields["service"]
            (log.error if record.status >= 500 else log.info)(fields.pop("event"), **fields)

    def _fields(self, record: RequestRecord) -> dict[str, Any]:
        return {
            "timestamp": datetime.fromtimestamp(record.ended_at, UTC),
            "level": "error" if record.status >= 500 else "info",
            "event": "http.request",
            "service": self._service,
            "method": record.method,
            "route": record.route,
            "status": record.status,
            "duration_ms": int(record.duration_s * 1e6) / 1000,
            "bytes": record.size,
            "request_id": record.request_id,
            "client_ip": record.client_ip,
            "principal": record.principal_id,
            "policy": record.policy,
            "outcome": record.outcome,
        }
