"""The policy engine: what guards an endpoint, decided without HTTP, so that jobs can use the same rules.

``JobConfig`` declares, ``Plan`` compiles, ``Admitter`` decides in one round trip. One file per policy: its options, its refusal.
"""

from app.core.policies._actual_cost import charge_as, pays_in, reset_charged, set_charged, set_cost
from app.core.policies._admission import Admission, LimitState
from app.core.policies._admitter import ADMIT, Admitter
from app.core.policies._ask import (
    NOTHING,
    VERDICT_WORDS,
    Allowance,
    Ask,
    Claim,
    Hold,
    Lookup,
    Slot,
    Verdict,
)
from app.core.policies._attempt_limit import AttemptLimit, Spent
from app.core.policies._calendar import Window, window_at
from app.core.policies._charge import debit_later, debit_of, without_price
from app.core.policies._circuit import Breaker, CircuitOpen
from app.core.policies._cluster_mode import ClusterMode
from app.core.policies._concurrency import Bulkhead, Concurrency, NoCapacity, TooManyInFlight
from app.core.policies._credits import (
    CREDIT,
    Credits,
    CreditsHeld,
    CreditsUnavailable,
    InsufficientCredits,
)
from app.core.policies._describe import Difference, describe, differences
from app.core.policies._encryption import Encryption
from app.core.policies._engine import Engine, configure_engine, default_engine
from app.core.policies._engine_parts import EngineParts
from app.core.policies._epochs import EPOCH_SCRIPTS, EpochBook, Epochs, RevocationUnknown
from app.core.policies._extra import ExtraPolicy
from app.core.policies._holds import HOLD_SCRIPTS, ExpiredHold, HoldBook, Overdue, load_account
from app.core.policies._idempotency import (
    Idempotency,
    IdempotencyKeyInUse,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
)
from app.core.policies._job_config import JobConfig, Priority
from app.core.policies._keys import Caller, tenant_partition, user_partition
from app.core.policies._known_question import KnownQuestion
from app.core.policies._overrides import Override, Overrides
from app.core.policies._permit import Permit
from app.core.policies._plan import CostExceedsLimit, Plan
from app.core.policies._providers import (
    AccountPlan,
    Balance,
    CreditLedger,
    Debit,
    Epoch,
    EpochSource,
    FinalCost,
    PlanSource,
)
from app.core.policies._quota import Quota, QuotaExceeded
from app.core.policies._rate_limit import CostRequest, LimitOptions, RateLimit, is_policy_name
from app.core.policies._refusals import LimitUnavailable, RateLimitExceeded
from app.core.policies._renewals import Renewals
from app.core.policies._resilience import Attempt, Resilience
from app.core.policies._response_cache import ResponseCache
from app.core.policies._retry import Retry
from app.core.policies._security import (
    ApiKeyRefused,
    InsufficientScope,
    RoleMissing,
    Security,
    StepUpRequired,
)
from app.core.policies._settlement import EXTEND, SETTLE, SETTLE_AND_KEEP, Settled
from app.core.policies._shadow import shadowed
from app.core.policies._standing import StandingQuestions
from app.core.policies._store_calls import Store
from app.core.policies._switches import Board, EndpointDisabled, Switch, Switches, breaker_switch
from app.core.policies._terms import NO_REQUEST, Terms, account_key
from app.core.policies._webhook import WebhookRejected, WebhookSignature

__all__ = [
    "ADMIT",
    "CREDIT",
    "EPOCH_SCRIPTS",
    "EXTEND",
    "HOLD_SCRIPTS",
    "NOTHING",
    "NO_REQUEST",
    "SETTLE",
    "SETTLE_AND_KEEP",
    "VERDICT_WORDS",
    "AccountPlan",
    "Admission",
    "Admitter",
    "Allowance",
    "ApiKeyRefused",
    "Ask",
    "Attempt",
    "AttemptLimit",
    "Balance",
    "Board",
    "Breaker",
    "Bulkhead",
    "Caller",
    "CircuitOpen",
    "Claim",
    "ClusterMode",
    "Concurrency",
    "CostExceedsLimit",
    "CostRequest",
    "CreditLedger",
    "Credits",
    "CreditsHeld",
    "CreditsUnavailable",
    "Debit",
    "Difference",
    "Encryption",
    "EndpointDisabled",
    "Engine",
    "EngineParts",
    "Epoch",
    "EpochBook",
    "EpochSource",
    "Epochs",
    "ExpiredHold",
    "ExtraPolicy",
    "FinalCost",
    "Hold",
    "HoldBook",
    "Idempotency",
    "IdempotencyKeyInUse",
    "IdempotencyKeyInvalid",
    "IdempotencyKeyReused",
    "IdempotencyUnavailable",
    "InsufficientCredits",
    "InsufficientScope",
    "JobConfig",
    "KnownQuestion",
    "LimitOptions",
    "LimitState",
    "LimitUnavailable",
    "Lookup",
    "NoCapacity",
    "Overdue",
    "Override",
    "Overrides",
    "Permit",
    "Plan",
    "PlanSource",
    "Priority",
    "Quota",
    "QuotaExceeded",
    "RateLimit",
    "RateLimitExceeded",
    "Renewals",
    "Resilience",
    "ResponseCache",
    "Retry",
    "RevocationUnknown",
    "RoleMissing",
    "Security",
    "Settled",
    "Slot",
    "Spent",
    "StandingQuestions",
    "StepUpRequired",
    "Store",
    "Switch",
    "Switches",
    "Terms",
    "TooManyInFlight",
    "Verdict",
    "WebhookRejected",
    "WebhookSignature",
    "Window",
    "account_key",
    "breaker_switch",
    "charge_as",
    "configure_engine",
    "debit_later",
    "debit_of",
    "default_engine",
    "describe",
    "differences",
    "is_policy_name",
    "load_account",
    "pays_in",
    "reset_charged",
    "set_charged",
    "set_cost",
    "shadowed",
    "tenant_partition",
    "user_partition",
    "window_at",
    "without_price",
]
