"""The policy engine: what guards an endpoint, decided without HTTP, so that jobs can use the same rules.

``JobConfig`` declares, ``Plan`` compiles, ``Admitter`` decides in one round trip. One file per policy: its options, its refusal.
"""

from app.core.policies._admission import (
    ADMIT,
    Admission,
    Admitter,
    AttemptLimit,
    LimitState,
    LimitUnavailable,
    RateLimitExceeded,
    Store,
)
from app.core.policies._job_config import JobConfig
from app.core.policies._keys import Caller
from app.core.policies._plan import CostExceedsLimit, Plan
from app.core.policies._rate_limit import CostRequest, RateLimit, is_policy_name
from app.core.policies._security import InsufficientScope, RoleMissing, Security

__all__ = [
    "ADMIT",
    "Admission",
    "Admitter",
    "AttemptLimit",
    "Caller",
    "CostExceedsLimit",
    "CostRequest",
    "InsufficientScope",
    "JobConfig",
    "LimitState",
    "LimitUnavailable",
    "Plan",
    "RateLimit",
    "RateLimitExceeded",
    "RoleMissing",
    "Security",
    "Store",
    "is_policy_name",
]
