"""Logging, metrics, tracing, and the events they subscribe to."""

from app.core.observability._access import AccessLog
from app.core.observability._encryption_metrics import count_encryption
from app.core.observability._events import (
    BreakerEvent,
    CacheEvent,
    CreditEvent,
    DatabaseEvent,
    Event,
    EventHub,
    HoldsEvent,
    KeysEvent,
    PeriodicEvent,
    PolicyEvent,
    RetryEvent,
    SettlementEvent,
    StoreEvent,
    StoreRefusedEvent,
    WorkEvent,
)
from app.core.observability._logging import access_log, configure_logging
from app.core.observability._mail_metrics import count_mail
from app.core.observability._metrics import CONTENT_TYPE as METRICS_CONTENT_TYPE
from app.core.observability._metrics import Metrics, record_db_latency
from app.core.observability._monitor_metrics import tell_server_counters
from app.core.observability._multiprocess import prepare_multiprocess_dir
from app.core.observability._pool_metrics import PoolMeter, ReplicaMeter
from app.core.observability._redaction import redact, redact_text
from app.core.observability._requests import Consumer, RequestRecord, RequestReports
from app.core.observability._run import Run
from app.core.observability._sink import LogSink, log_sink
from app.core.observability._tracing import configure_tracing, get_tracer, shutdown_tracing

__all__ = [
    "METRICS_CONTENT_TYPE",
    "AccessLog",
    "BreakerEvent",
    "CacheEvent",
    "Consumer",
    "CreditEvent",
    "DatabaseEvent",
    "Event",
    "EventHub",
    "HoldsEvent",
    "KeysEvent",
    "LogSink",
    "Metrics",
    "PeriodicEvent",
    "PolicyEvent",
    "PoolMeter",
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
    "get_tracer",
    "log_sink",
    "prepare_multiprocess_dir",
    "record_db_latency",
    "redact",
    "redact_text",
    "shutdown_tracing",
    "tell_server_counters",
]
