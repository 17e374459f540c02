"""The header fields that tell a caller about his limits: draft-ietf-httpapi-ratelimit-headers (2025-09) and Retry-After (RFC 9110).

Items are Strings, because the Token form stands only in a later editor's draft. ``t`` is the time until the limit lets this request
pass when it refused, otherwise until the bucket or window is whole again. Limits in shadow mode do not show.
"""

from collections.abc import Callable
from math import ceil

from app.core.policies import Admission, Plan

Field = tuple[bytes, bytes]


def policy_field(plan: Plan) -> Field | None:
    """``RateLimit-Policy`` of a plan; constant, so computed once."""
    items = [
        f'"{limit.name}";q={limit.quota};w={ceil(limit.window)}' for limit in plan.limits if not limit.shadow
    ]  # fmt: skip
    return (b"ratelimit-policy", ", ".join(items).encode()) if items else None


def limit_field(admission: Admission) -> Field:
    """``RateLimit`` of one decision."""
    numbers, items, at = admission.numbers, [], 0
    for limit in admission.plan.limits:
        if not limit.shadow:
            remaining = numbers[at + 1]
            seconds = -(-(numbers[at + 2] if numbers[at] else max(numbers[at + 3], 0)) // 1_000_000)
            items.append(f'"{limit.name}";r={max(remaining, 0)};t={seconds}')
        at += 4
    return (b"ratelimit", ", ".join(items).encode())


def retry_after(wait_s: float, jitter: Callable[[], float]) -> int:
    """Whole seconds to wait: rounded up, at least 1, up to a tenth more so that refused callers do not return at once together."""
    return max(1, ceil(wait_s * (1 + 0.1 * jitter())))
