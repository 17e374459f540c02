"""Structured logs of the whole process: ours through structlog, the libraries' through the standard library."""

import json
import logging
import sys
from typing import Any, Literal, NamedTuple

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.core.context import current_context
from app.core.observability._access import AccessLog
from app.core.observability._job_log import JobLog
from app.core.observability._redaction import redact
from app.core.observability._sink import log_sink

Format = Literal["auto", "json", "console"]

_UNTOUCHED = frozenset({"timestamp", "level", "logger", "_record", "_from_structlog"})


class _Setup:
    """What ``configure_logging`` decided last; one per process, like logging itself."""

    is_json = True
    level = logging.INFO
    service = "gatehouse"


def configure_logging(level: str = "INFO", format: Format = "auto", service: str = "gatehouse") -> None:  # noqa: A002
    """Send everything that is logged to standard output, one event per line.

    ``format`` is ``json``, ``console`` (coloured, for people) or ``auto``: console on a terminal, JSON
    elsewhere. uvicorn must be started with ``log_config=None, access_log=False``; its own access log shows
    raw queries and is switched off here as well. May be called again; the last call wins.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    is_json = format == "json" or (format == "auto" and not _is_terminal())
    _Setup.is_json, _Setup.level, _Setup.service = is_json, number, service
    shared = _shared_processors(service, is_json=is_json)
    structlog.configure(
        processors=[*shared, _to_bytes if is_json else _console()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_SinkLogger,
        cache_logger_on_first_use=False,
    )
    _route_standard_library(number, shared, is_json=is_json)


class LogManner(NamedTuple):
    """Arguments of ``configure_logging``."""

    level: str
    format: Format
    service: str


def log_manner() -> LogManner:
    """What ``configure_logging`` decided last: with these arguments another process logs as this one does."""
    form: Format = "json" if _Setup.is_json else "console"
    return LogManner(logging.getLevelName(_Setup.level), form, _Setup.service)


def access_log() -> AccessLog:
    """The access log in the format and at the level that ``configure_logging`` chose."""
    shows_info = _Setup.level <= logging.INFO
    return AccessLog(log_sink, is_json=_Setup.is_json, shows_info=shows_info, service=_Setup.service)


def job_log() -> JobLog:
    """The log of jobs in the format and at the level that ``configure_logging`` chose."""
    shows_info = _Setup.level <= logging.INFO
    return JobLog(log_sink, is_json=_Setup.is_json, shows_info=shows_info, service=_Setup.service)


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _shared_processors(service: str, *, is_json: bool) -> list[Processor]:
    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    processors: list[Processor] = [
        structlog.stdlib.add_log_level,
        _add_name,
        _add_context,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    return [add_service, *processors] if is_json else processors


def _add_name(logger: WrappedLogger, _: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    event["logger"] = record.name if record is not None else getattr(logger, "name", None)
    return event


def _add_context(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Say which request this belongs to, unless the event says so itself."""
    context = current_context()
    principal = context.principal.id if context.principal is not None else context.user_id
    known = (
        ("request_id", context.request_id),
        ("policy", context.policy),
        ("principal", principal),
        ("tenant", context.tenant_id),
    )
    for name, value in known:
        if value is not None:
            event.setdefault(name, value)
    if context.job_id is not None:
        event.setdefault("job_id", context.job_id)
        if context.traceparent is not None:
            event.setdefault("trace_id", context.traceparent[3:35])
    return event


def _redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if name not in _UNTOUCHED:
            event[name] = redact(name, value)
    return event


def _to_bytes(_: WrappedLogger, __: str, event: EventDict) -> bytes:
    try:
        return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # Lone surrogates and huge integers; the slow encoder escapes them.
        return json.dumps(event, default=str).encode("ascii")


def _to_text(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return _to_bytes(logger, method, event).decode()


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=_is_terminal())


class _SinkLogger:
    """The end of structlog's chain: hands finished lines to the sink."""

    def __init__(self, name: str | None = None, *_: Any) -> None:
        self.name = name

    def msg(self, line: str | bytes) -> None:
        log_sink.write(line.encode("utf-8", "replace") if isinstance(line, str) else line)

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


class _SinkHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            log_sink.write(self.format(record).encode("utf-8", "replace"))
        except Exception:  # noqa: BLE001 - a log call with wrong arguments must not break the caller
            self.handleError(record)


def _route_standard_library(level: int, shared: list[Processor], *, is_json: bool) -> None:
    handler = _SinkHandler()
    renderer: Processor = _to_text if is_json else _console()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _SinkHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    # They would write whole URLs and headers of what we call, keys and users' questions among them.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
