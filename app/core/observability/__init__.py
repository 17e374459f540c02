"""Logging, metrics, tracing, and the events they subscribe to."""

from app.core.observability._events import DatabaseEvent, Event, EventHub, PolicyEvent, StoreEvent, WorkEvent
from app.core.observability._requests import RequestRecord

__all__ = ["DatabaseEvent", "Event", "EventHub", "PolicyEvent", "RequestRecord", "StoreEvent", "WorkEvent"]
