"""Clocks, deadlines, circuit breakers, retries and bulkheads: decisions, no input or output.

Used by the store client, the pools and the policies.
"""

from app.core.resilience._breaker import CircuitBreaker, Permit
from app.core.resilience._breakers import BreakerOptions, Breakers
from app.core.resilience._budget import RetryBudget
from app.core.resilience._clock import Clock, ManualClock, SystemClock
from app.core.resilience._deadline import Deadlines, Watch, deadline_at, earliest, remaining_s
from app.core.resilience._function_of import function_of
from app.core.resilience._pause import doubled_pause
from app.core.resilience._places import Places, ThreadPlaces
from app.core.resilience._retry import AttemptTimeout, Retrier, RetryRules, is_transient
from app.core.resilience._retry_decorator import retry_decorator
from app.core.resilience._rolling import BreakerMode, BreakerRules, BreakerState, Leave, RollingBreaker

__all__ = [
    "AttemptTimeout",
    "BreakerMode",
    "BreakerOptions",
    "BreakerRules",
    "BreakerState",
    "Breakers",
    "CircuitBreaker",
    "Clock",
    "Deadlines",
    "Leave",
    "ManualClock",
    "Permit",
    "Places",
    "Retrier",
    "RetryBudget",
    "RetryRules",
    "RollingBreaker",
    "SystemClock",
    "ThreadPlaces",
    "Watch",
    "deadline_at",
    "doubled_pause",
    "earliest",
    "function_of",
    "is_transient",
    "remaining_s",
    "retry_decorator",
]
