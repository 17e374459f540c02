"""The error for each verdict that does not let a request in."""

import random
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, NamedTuple

from app.core.errors import GatehouseError, PolicyRejected, Unavailable
from app.core.policies._ask import Ask, Verdict
from app.core.policies._circuit import CircuitOpen
from app.core.policies._concurrency import NoCapacity, TooManyInFlight
from app.core.policies._credits import CREDIT, CreditsHeld, CreditsUnavailable, InsufficientCredits
from app.core.policies._idempotency import (
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
)
from app.core.policies._questions import Answer
from app.core.policies._quota import QUOTA_EXCEEDED, QuotaExceeded
from app.core.security import InvalidToken

_LONGEST_JITTER_S = 60.0
_CALLERS_OWN = frozenset({"user", "tenant"})
_STORE_UNAVAILABLE = "store_unavailable"


class Refused(NamedTuple):
    """One policy that refused. ``wait_s`` -1: waiting does not help."""

    kind: str
    name: str
    is_shadow: bool
    wait_s: float
    scope: str = ""


class RateLimitExceeded(PolicyRejected):
    """One or more limits are used up. ``retry_after`` is when all of them would let this request pass."""

    type = QUOTA_EXCEEDED


class LimitUnavailable(Unavailable):
    """A limit that must not be guessed cannot be checked, because the store does not answer."""

    def __init__(self, policy: str) -> None:
        super().__init__(
            "A limit of this endpoint cannot be checked now.",
            extensions={"policy": policy, "reason": _STORE_UNAVAILABLE},
        )


def idempotency_unavailable(policy: str) -> IdempotencyUnavailable:
    """A key that cannot be claimed, because the store does not answer."""
    return IdempotencyUnavailable(
        "It cannot be checked now whether this request was made before.",
        extensions={"policy": policy, "reason": _STORE_UNAVAILABLE},
    )


def credits_unavailable(policy: str) -> CreditsUnavailable:
    """A balance that cannot be read, because the store does not answer; never 402."""
    return CreditsUnavailable(
        "The account's balance cannot be read now.",
        extensions={"policy": policy, "reason": _STORE_UNAVAILABLE},
    )


class Case(NamedTuple):
    """What is known about a request that is not let in. ``seconds``: when it may be tried again."""

    policy: str
    refused: Sequence[Refused]
    seconds: int
    ask: Ask
    answer: Answer | None

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that refused."""
        return tuple(r.name for r in self.refused)

    @property
    def shortage(self) -> dict[str, Any]:
        """What is needed and there, in whole credits."""
        required = -(-self.ask.hold.micro // CREDIT) if self.ask.hold is not None else 0
        available = max(self.answer.available, 0) // CREDIT if self.answer is not None else 0
        body: dict[str, Any] = {"required": required, "available": available}
        if self.answer is not None and self.answer.top_up_url is not None:
            body["top_up_url"] = self.answer.top_up_url
        return body


def seconds_of(wait_s: float, jitter: Callable[[], float]) -> int:
    """A Retry-After: whole seconds, at least 1, up to a tenth (at most a minute) more than ``wait_s``; ``jitter`` gives 0 to 1."""
    return max(1, ceil(wait_s + min(0.1 * wait_s, _LONGEST_JITTER_S) * jitter()))


def refusal_of(verdict: Verdict, case: Case) -> GatehouseError:
    """The error that becomes the response."""
    make = _ERRORS.get(verdict)
    if make is None:
        return Unavailable("This cannot be decided now.", extensions={"policy": case.policy})
    return make(case)


def _used_up(cls: type[PolicyRejected], case: Case) -> GatehouseError:
    return cls(
        f"Used up: {', '.join(case.names)}. Try again in {case.seconds} s.",
        policy=case.policy,
        violated=case.names,
        retry_after=case.seconds,
    )


def _busy(case: Case) -> GatehouseError:
    first = next((r for r in case.refused if r.kind == "slot" and not r.is_shadow), None)
    if first is not None and first.scope in _CALLERS_OWN:
        return TooManyInFlight(
            f"Too many requests in flight: {first.name}.",
            policy=case.policy,
            violated=case.names,
            retry_after=case.seconds,
            extensions={"reason": "concurrent_requests"},
        )
    return NoCapacity(
        "The endpoint has as much in hand as it takes.",
        retry_after=random.randint(1, 3),  # noqa: S311 - spreads the callers out, no secret
        extensions={"policy": case.policy, "violated-policies": list(case.names)},
    )


def _no_credit(case: Case) -> GatehouseError:
    return InsufficientCredits(
        "The account's credits do not reach for this.",
        policy=case.policy,
        violated=case.names,
        extensions=case.shortage,
    )


def _held(case: Case) -> GatehouseError:
    return CreditsHeld(
        "Requests in flight hold the credits that this needs.",
        policy=case.policy,
        violated=case.names,
        retry_after=case.seconds,
        extensions={"reason": "credits_held", **case.shortage},
    )


def _key_of(case: Case) -> str:
    return case.ask.claim.name if case.ask.claim is not None else "key"


def _in_flight(case: Case) -> GatehouseError:
    return IdempotencyKeyInUse(
        f"A request with this {_key_of(case)} is being worked on.",
        policy=case.policy,
        retry_after=case.seconds,
        extensions={"reason": "in_flight"},
    )


def _unknown(case: Case) -> GatehouseError:
    return IdempotencyKeyInUse(
        f"A request with this {_key_of(case)} did not end; whether it had an effect is unknown.",
        policy=case.policy,
        extensions={"reason": "outcome_unknown"},
    )


def _mismatch(case: Case) -> GatehouseError:
    return IdempotencyKeyReused(f"This {_key_of(case)} belongs to another request.", policy=case.policy)


def _open(case: Case) -> GatehouseError:
    return CircuitOpen("What this endpoint needs is failing.", extensions={"policy": case.policy})


_ERRORS: dict[Verdict, Callable[[Case], GatehouseError]] = {
    Verdict.LIMITED: lambda case: _used_up(RateLimitExceeded, case),
    Verdict.QUOTA: lambda case: _used_up(QuotaExceeded, case),
    Verdict.BUSY: _busy,
    Verdict.NO_CREDIT: _no_credit,
    Verdict.HELD: _held,
    Verdict.IN_FLIGHT: _in_flight,
    Verdict.UNKNOWN: _unknown,
    Verdict.MISMATCH: _mismatch,
    Verdict.OPEN: _open,
    Verdict.REVOKED: lambda _: InvalidToken("revoked"),
}
