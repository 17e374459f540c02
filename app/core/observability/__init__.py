"""Logging, metrics, tracing, and the events they subscribe to."""

from app.core.observability._access import AccessLog
from app.core.observability._batches import Batches
from app.core.observability._encryption_metrics import count_encryption
from app.core.observability._events import (
    BreakerEvent,
    CacheEvent,
    CreditEvent,
    DatabaseEvent,
    Event,
    EventHub,
    HoldsEvent,
    JobEvent,
    KeysEvent,
    PeriodicEvent,
    PolicyEvent,
    QueueEvent,
    RetryEvent,
    SettlementEvent,
    StoreEvent,
    StoreRefusedEvent,
    WorkEvent,
)
from app.core.observability._job_log import JobLog
from app.core.observability._job_span import JobSpan, current_traceparent, job_span
from app.core.observability._logging import (
    LogManner,
    access_log,
    configure_logging,
    job_log,
    log_manner,
)
from app.core.observability._mail_metrics import count_mail
from app.core.observability._metrics import CONTENT_TYPE as METRICS_CONTENT_TYPE
from app.core.observability._metrics import Metrics, record_db_latency
from app.core.observability._monitor_metrics import tell_server_counters
from app.core.observability._multiprocess import prepare_multiprocess_dir
from app.core.observability._pool_metrics import PoolMeter, ReplicaMeter
from app.core.observability._queue_metrics import QueueMeter, QueueReading
from app.core.observability._redaction import redact, redact_text
from app.core.observability._requests import Consumer, RequestRecord, RequestReports
from app.core.observability._run import Run
from app.core.observability._sink import LogSink, log_sink
from app.core.observability._tracing import configure_tracing, get_tracer, shutdown_tracing

__all__ = [
    "METRICS_CONTENT_TYPE",
    "AccessLog",
    "Batches",
    "BreakerEvent",
    "CacheEvent",
    "Consumer",
    "CreditEvent",
    "DatabaseEvent",
    "Event",
    "EventHub",
    "HoldsEvent",
    "JobEvent",
    "JobLog",
    "JobSpan",
    "KeysEvent",
    "LogManner",
    "LogSink",
    "Metrics",
    "PeriodicEvent",
    "PolicyEvent",
    "PoolMeter",
    "QueueEvent",
    "QueueMeter",
    "QueueReading",
    "ReplicaMeter",
    "RequestRecord",
    "RequestReports",
    "RetryEvent",
    "Run",
    "SettlementEvent",
    "StoreEvent",
    "StoreRefusedEvent",
    "WorkEvent",
    "access_log",
    "configure_logging",
    "configure_tracing",
    "count_encryption",
    "count_mail",
    "current_traceparent",
    "get_tracer",
    "job_log",
    "job_span",
    "log_manner",
    "log_sink",
    "prepare_multiprocess_dir",
    "record_db_latency",
    "redact",
    "redact_text",
    "shutdown_tracing",
    "tell_server_counters",
]
