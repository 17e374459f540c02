"""The platform. You call it; you rarely edit it.

These names are what a feature needs first; they load when they are asked for, so that importing one room does not load them all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.core.http import (
        APIRouter,
        CurrentPrincipal,
        RateLimiter,
        api_worker,
        enforce_all_policies,
        provided,
    )
    from app.core.policies import JobConfig, RateLimit, Security
    from app.core.resilience import retry_decorator

_ROOMS = {
    "APIRouter": "http",
    "CurrentPrincipal": "http",
    "JobConfig": "policies",
    "RateLimit": "policies",
    "RateLimiter": "http",
    "Security": "policies",
    "api_worker": "http",
    "enforce_all_policies": "http",
    "provided": "http",
    "retry_decorator": "resilience",
}

__all__ = [
    "APIRouter",
    "CurrentPrincipal",
    "JobConfig",
    "RateLimit",
    "RateLimiter",
    "Security",
    "api_worker",
    "enforce_all_policies",
    "provided",
    "retry_decorator",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
