"""The platform. You call it; you rarely edit it.

These names are what a feature needs: the gate and its options, the building blocks, what handlers ask for. They load when they are asked
for, so that importing one room does not load them all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.core.context import Principal
    from app.core.errors import PolicyRejected
    from app.core.http import (
        APIRouter,
        CurrentPrincipal,
        RateLimiter,
        api_worker,
        debounce,
        enforce_all_policies,
        fixed_window,
        invalidate_tags,
        platform_of,
        provided,
        require_credits,
        require_scope,
        roles_required,
        sliding_window,
        throttle,
        token_bucket,
        token_bucket_limiter,
    )
    from app.core.policies import (
        Breaker,
        Bulkhead,
        Caller,
        Concurrency,
        CostRequest,
        Credits,
        Encryption,
        Engine,
        ExtraPolicy,
        Idempotency,
        JobConfig,
        Quota,
        RateLimit,
        ResponseCache,
        Retry,
        Security,
        WebhookSignature,
        set_cost,
    )
    from app.core.resilience import remaining_s, retry_decorator
    from app.core.valkey import get_or_set_cache, get_or_set_many

_ROOMS = {
    "APIRouter": "http",
    "Breaker": "policies",
    "Bulkhead": "policies",
    "Caller": "policies",
    "Concurrency": "policies",
    "CostRequest": "policies",
    "Credits": "policies",
    "CurrentPrincipal": "http",
    "Encryption": "policies",
    "Engine": "policies",
    "ExtraPolicy": "policies",
    "Idempotency": "policies",
    "JobConfig": "policies",
    "PolicyRejected": "errors",
    "Principal": "context",
    "Quota": "policies",
    "RateLimit": "policies",
    "RateLimiter": "http",
    "ResponseCache": "policies",
    "Retry": "policies",
    "Security": "policies",
    "WebhookSignature": "policies",
    "api_worker": "http",
    "debounce": "http",
    "enforce_all_policies": "http",
    "fixed_window": "http",
    "get_or_set_cache": "valkey",
    "get_or_set_many": "valkey",
    "invalidate_tags": "http",
    "platform_of": "http",
    "provided": "http",
    "remaining_s": "resilience",
    "require_credits": "http",
    "require_scope": "http",
    "retry_decorator": "resilience",
    "roles_required": "http",
    "set_cost": "policies",
    "sliding_window": "http",
    "throttle": "http",
    "token_bucket": "http",
    "token_bucket_limiter": "http",
}

__all__ = [
    "APIRouter",
    "Breaker",
    "Bulkhead",
    "Caller",
    "Concurrency",
    "CostRequest",
    "Credits",
    "CurrentPrincipal",
    "Encryption",
    "Engine",
    "ExtraPolicy",
    "Idempotency",
    "JobConfig",
    "PolicyRejected",
    "Principal",
    "Quota",
    "RateLimit",
    "RateLimiter",
    "ResponseCache",
    "Retry",
    "Security",
    "WebhookSignature",
    "api_worker",
    "debounce",
    "enforce_all_policies",
    "fixed_window",
    "get_or_set_cache",
    "get_or_set_many",
    "invalidate_tags",
    "platform_of",
    "provided",
    "remaining_s",
    "require_credits",
    "require_scope",
    "retry_decorator",
    "roles_required",
    "set_cost",
    "sliding_window",
    "throttle",
    "token_bucket",
    "token_bucket_limiter",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
