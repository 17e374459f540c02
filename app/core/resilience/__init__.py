"""Clocks, deadlines and a circuit breaker: pure decisions, no input or output.

Used by the store client, the pools and the policies.
"""

from app.core.resilience._breaker import CircuitBreaker, Permit
from app.core.resilience._clock import Clock, ManualClock, SystemClock
from app.core.resilience._deadline import Deadlines, Watch

__all__ = ["CircuitBreaker", "Clock", "Deadlines", "ManualClock", "Permit", "SystemClock", "Watch"]
