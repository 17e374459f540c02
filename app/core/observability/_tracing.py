"""OpenTelemetry traces: FastAPI's own spans for requests, asyncpg's for statements, yours through ``get_tracer``.

What is exported is cleaned of secrets. Off unless asked for; then ``OTEL_*`` variables say where to and how much
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_TRACES_EXPORTER=otlp|console|none, OTEL_SDK_DISABLED, ...).
"""

import os
from collections.abc import MutableMapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import get_tracer

from app.core.errors import ConfigurationError

__all__ = ["configure_tracing", "get_tracer", "shutdown_tracing"]

_EXCLUDED = frozenset({"/live", "/ready", "/health", "/health/db", "/metrics"})
_OFF: dict[str, Any] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def configure_tracing(*, enabled: bool, service: str = "gatehouse") -> dict[str, Any]:
    """What to hand to ``FastAPI(telemetry=...)``.

    Off, it switches FastAPI's telemetry off entirely: no work per request, no exporter, no thread. On, it
    makes the process's tracer provider once (an existing one, such as a test's, is kept, and exports what it likes), without FastAPI's
    spans per operation, which cost more than the request. Raises ConfigurationError for an exporter it does
    not know.
    """
    if not enabled:
        return dict(_OFF)
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        provider = _install_provider(service)
    _instrument_asyncpg(provider)
    return {
        "tracer_provider": provider,
        "tracing": True,
        "metrics": False,  # Prometheus counts requests; both would count twice.
        "logs": False,  # They carry exception messages past our redaction.
        "operation_spans": False,
        "auto_configure": False,
        "exclude": _is_excluded,
    }


def shutdown_tracing() -> None:
    """Send what is still buffered; at the end of the lifespan. Does nothing when tracing is off."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush(5000)


def _is_excluded(scope: MutableMapping[str, Any]) -> bool:
    return scope.get("path") in _EXCLUDED


def _install_provider(service: str) -> trace.TracerProvider:
    # Imported here, because the SDK takes a fifth of a second that processes without tracing need not spend.
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from app.core.observability._span_redaction import RedactingExporter  # noqa: PLC0415

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
    provider = TracerProvider(resource=Resource.create(named))
    exporter = _exporter(os.environ.get("OTEL_TRACES_EXPORTER") or "otlp")
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(RedactingExporter(exporter)))
    trace.set_tracer_provider(provider)
    return provider


def _exporter(name: str) -> Any:
    if name == "none":
        return None
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        return ConsoleSpanExporter()
    if name == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        return OTLPSpanExporter()
    raise ConfigurationError(f"OTEL_TRACES_EXPORTER is {name!r}; it may be otlp, console or none")


def _instrument_asyncpg(provider: trace.TracerProvider) -> None:
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor  # noqa: PLC0415

    instrumentor = AsyncPGInstrumentor()  # type: ignore[no-untyped-call]
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(tracer_provider=provider)
