"""The log of jobs: one line per attempt, whose name says how it ended."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
import structlog

from app.core.errors import GatehouseError
from app.core.observability._events import JobEvent
from app.core.observability._sink import LogSink

_LEVELS = {
    "succeeded": "info",
    "cancelled": "info",
    "postponed": "info",
    "returned": "info",
    "dead": "error",
}


class JobLog:
    """Writes ended attempts as ``job.<outcome>``: ``dead`` is an error, what did not succeed otherwise a warning. Arguments and results are
    never written; of an error its kind, and the traceback if it is none of ours, without secrets as in all other lines.

    JSON lines of what succeeded are built here and not by structlog, which costs ten times as much: they hold nothing that a caller chose.
    """

    def __init__(
        self, sink: LogSink, *, is_json: bool, shows_info: bool = True, service: str = "gatehouse"
    ) -> None:
        self._sink = sink
        self._is_json = is_json
        self._shows_info = shows_info
        self._service = service

    def __call__(self, events: Sequence[JobEvent]) -> None:
        """Write a line for each, in order."""
        lines: list[str] = []
        for event in events:
            if self._is_json and event.outcome == "succeeded":
                if self._shows_info:
                    lines.append(self._line(event))
                continue
            self._write(lines)
            self._log(event)
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        if lines:
            self._sink.write("\n".join(lines).encode())
            lines.clear()

    def _line(self, event: JobEvent) -> str:
        job, queue, _, status, job_id, attempt, duration_s, waited_s, ended_at, submitter, trace_id, *_ = (
            event
        )
        seconds = int(ended_at)
        return (
            f'{{"timestamp":"{_second(seconds)}.{int(1e6 * (ended_at - seconds)):06d}+00:00",'
            f'{_constant(self._service, job, queue, status)},"job_id":"{job_id}","attempt":{attempt},'
            f'"duration_s":{duration_s:.6f},"waited_s":{waited_s:.6f},'
            f'"submitter":{_json(submitter)},"trace_id":{_json(trace_id)}}}'
        )

    @staticmethod
    def _log(event: JobEvent) -> None:
        write = getattr(structlog.get_logger("app.jobs"), _LEVELS.get(event.outcome, "warning"))
        fields, error = _fields(event), event.error
        if error is not None:
            fields["error"] = type(error).__name__
            if not isinstance(error, GatehouseError):
                fields["exc_info"] = (type(error), error, error.__traceback__)
        write(f"job.{event.outcome}", **fields)


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


@lru_cache(maxsize=1024)
def _constant(service: str, job: str, queue: str, status: str) -> str:
    """What the lines of one job have in common."""
    fields = {
        "level": "info",
        "event": "job.succeeded",
        "service": service,
        "logger": "app.jobs",
        "job": job,
        "queue": queue,
        "status": status,
    }
    return orjson.dumps(fields).decode()[1:-1]


def _json(value: str | None) -> str:
    return "null" if value is None else orjson.dumps(value).decode()


def _fields(event: JobEvent) -> dict[str, Any]:
    return {
        "job": event.job,
        "queue": event.queue,
        "status": event.status,
        "job_id": str(event.job_id),  # the database driver has a UUID of its own, which JSON does not know
        "attempt": event.attempt,
        "duration_s": round(event.duration_s, 6),
        "waited_s": round(event.waited_s, 6),
        "submitter": event.submitter,
        "trace_id": event.trace_id,
    }
