"""Spans of jobs: a run belongs to the trace of the request, or job, that submitted it."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()


class JobSpan:
    """A run that is being traced."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.traceparent = _traceparent_of(span.get_span_context())

    def ended(self, outcome: str, error: BaseException | None) -> None:
        """How it ended; of an error only the kind, as its words may hold what nobody else may read."""
        self._span.set_attribute("job.outcome", outcome)
        if error is not None:
            kind = type(error).__name__
            self._span.set_attribute("error.type", kind)
            self._span.set_status(trace.StatusCode.ERROR, kind)


def current_traceparent(given: str | None) -> str | None:
    """The trace that work begun now should continue: the span in hand, or else the one that the caller ``given`` us."""
    context = trace.get_current_span().get_span_context()
    return _traceparent_of(context) if context.is_valid else given


@contextmanager
def job_span(
    tracer: trace.Tracer, traceparent: str | None, *, job: str, queue: str, job_id: str, attempt: int
) -> Iterator[JobSpan]:
    """Around one attempt. Its parent is what submitted the job, so that request and run are one trace, however often it is tried; a link
    would leave them two, which nobody follows at night. Names as in OpenTelemetry's conventions for messaging.
    """
    attributes: dict[str, str | int] = {
        "messaging.system": "gatehouse",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": queue,
        "messaging.message.id": job_id,
        "job.id": job_id,
        "job.name": job,
        "job.queue": queue,
        "job.attempt": attempt,
    }
    parent = _propagator.extract({"traceparent": traceparent}) if traceparent is not None else None
    with tracer.start_as_current_span(
        f"process {job}",
        context=parent,
        kind=trace.SpanKind.CONSUMER,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield JobSpan(span)


def _traceparent_of(context: trace.SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
