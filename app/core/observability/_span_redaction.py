"""Traces without secrets: what is exported is a cleaned copy of each span.

Imported only where traces are on, because the SDK is slow to load.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from app.core.observability._redaction import REDACTED, redact, redact_text

_QUERIES = frozenset({"url.query"})
_ADDRESSES = frozenset({"url.full", "http.url", "http.target"})


class RedactingExporter(SpanExporter):
    """Hands cleaned spans to ``inner``: attributes, events (exceptions among them) and the status go through the redaction of log lines,
    and nothing of a query is exported, as in the access log: a query may hold what a person typed.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Clean and hand on."""
        return self._inner.export([_clean(span) for span in spans])

    def shutdown(self) -> None:
        """Close ``inner``."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Let ``inner`` send what it holds."""
        return self._inner.force_flush(timeout_millis)


def _clean(span: ReadableSpan) -> ReadableSpan:
    description = span.status.description
    return ReadableSpan(
        name=redact_text(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span.attributes),
        events=[
            Event(redact_text(event.name), _attributes(event.attributes), event.timestamp)
            for event in span.events
        ],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, redact_text(description)) if description else span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(given: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in (given or {}).items()}


def _value(name: str, value: Any) -> Any:
    if name in _QUERIES:
        return REDACTED
    if name in _ADDRESSES and isinstance(value, str):
        value = value.partition("?")[0]
    return redact(name, value)
