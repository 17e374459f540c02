"""What ADMIT said about one request."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from app.core.errors import GatehouseError
from app.core.policies._ask import NOTHING, Ask, Verdict
from app.core.policies._plan import ATTEMPT, Plan
from app.core.policies._questions import Answer
from app.core.policies._rate_limit import RateLimit
from app.core.policies._refusals import Case, Refused, refusal_of, seconds_of

_SLOT_WAIT_S = 1.0  # requests in flight end when they end; their leases are far longer
_REFUSING = frozenset({Verdict.LIMITED, Verdict.QUOTA, Verdict.BUSY, Verdict.NO_CREDIT, Verdict.HELD})
_UNPAID = frozenset({Verdict.COLD, Verdict.CLOCK, Verdict.UNPROVEN})
_ELSEWHERE = {
    Verdict.NO_CREDIT: "credits",
    Verdict.HELD: "credits",
    Verdict.COLD: "credits",
    Verdict.IN_FLIGHT: "idempotency",
    Verdict.MISMATCH: "idempotency",
    Verdict.UNKNOWN: "idempotency",
    Verdict.OPEN: "circuit",
    Verdict.REVOKED: "security",
}


class LimitState(NamedTuple):
    """One limit after the decision. Times in seconds; ``retry_after`` -1 means never."""

    limit: RateLimit
    passed: bool
    remaining: int
    reset_after: float
    retry_after: float


class Admission(NamedTuple):
    """What ADMIT said. ``numbers`` are the script's own: (passed, remaining, reset_us, retry_us) for each limit of ``plan``.

    ``rid`` is the request's id in the store, ``now_ms`` the store's time, ``keys`` and ``costs`` those of the limits, ``answer`` what
    concerns the parts of ``ask`` (None when only limits were asked). ``paid`` tells the limits that were charged already, where a plan is
    decided in several steps (Cluster); ``taken`` what a degraded admission took in this process.
    """

    plan: Plan
    allowed: bool
    cause: int
    numbers: Sequence[int]
    degraded: bool
    rid: str = ""
    now_ms: int = 0
    keys: Sequence[str] = ()
    costs: tuple[int, ...] = ()
    ask: Ask = NOTHING
    answer: Answer | None = None
    paid: frozenset[int] | None = None
    taken: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The decision. Everything but ADMITTED, FRESH, STALE and REPLAY refuses, or wants to be asked again."""
        if self.answer is not None:
            return self.answer.verdict
        return Verdict.ADMITTED if self.allowed else Verdict.LIMITED

    @property
    def generation(self) -> int:
        """Of the claim: 1, and 1 more for each takeover; 0 without a claim."""
        return self.answer.generation if self.answer is not None else 0

    @property
    def available(self) -> int:
        """Micro-credits that are neither spent nor held; -1 when unknown."""
        return self.answer.available if self.answer is not None else -1

    @property
    def tail(self) -> bytes:
        """The result (REPLAY) or the cache entry (FRESH, STALE, and a stale one where it has to be computed anew); else empty."""
        return self.answer.tail if self.answer is not None else b""

    @property
    def versions(self) -> bytes:
        """The versions of the looked up answer's tags, which a new entry must carry; ``-`` when it has no tags."""
        return self.answer.versions if self.answer is not None else b"-"

    @property
    def is_leader(self) -> bool:
        """Whether this request is the one that computes the answer it looked for; ``rid`` is its lease's token."""
        return self.answer is not None and self.answer.is_leader

    @property
    def states(self) -> Iterator[LimitState]:
        """The limits one by one, for readers who are not in a hurry."""
        for i, limit in enumerate(self.plan.limits[: len(self.numbers) // 4]):
            passed, remaining, reset, retry = self.numbers[4 * i : 4 * i + 4]
            yield LimitState(
                limit, bool(passed), remaining, reset / 1e6, retry / 1e6 if retry > 0 else float(retry)
            )

    @property
    def cause_name(self) -> str | None:
        """The policy that decided: the first limit, quota or slot that refused, or credits, idempotency, circuit."""
        verdict = self.verdict
        if verdict is Verdict.LIMITED:
            return self.plan.limits[self.cause - 1].name if self.cause else None
        if verdict in (Verdict.QUOTA, Verdict.BUSY):
            kind = "quota" if verdict is Verdict.QUOTA else "slot"
            return next((r.name for r in self._refusals() if r.kind == kind and not r.is_shadow), None)
        return _ELSEWHERE.get(verdict)

    @property
    def shadowed(self) -> tuple[str, ...]:
        """Limits, quotas, slots and credits in shadow mode that would have refused, or could not be asked."""
        return (*(r.name for r in self._refusals() if r.is_shadow), *self.ask.lacking)

    @property
    def violated(self) -> tuple[str, ...]:
        """Everything that refused, in the order of the policies; empty for verdicts that say something else."""
        return tuple(r.name for r in self._counted())

    @property
    def wait_s(self) -> float:
        """Seconds until all that refused would let this request pass, or another's claim is over; 0 when nothing did."""
        if self.verdict is Verdict.IN_FLIGHT and self.answer is not None:
            return self.answer.left_ms / 1000
        return max((r.wait_s for r in self._counted()), default=0.0)

    @property
    def is_owed_settlement(self) -> bool:
        """Whether settling does anything: a claim, a slot, a hold or the lease of a computation was taken."""
        ask = self.ask
        return self.allowed and (
            ask.claim is not None or bool(ask.slots) or ask.price is not None or self.is_leader
        )

    def unpaid(self, costs: tuple[int, ...]) -> tuple[int, ...]:
        """What asking again for the same request costs: attempt limits were charged, unless nothing was."""
        if self.paid is None and (self.verdict in _UNPAID or self._was_free):
            return costs
        return tuple(
            0 if counter.flags & ATTEMPT and (self.paid is None or i in self.paid) else cost
            for i, (counter, cost) in enumerate(zip(self.plan.counters, costs, strict=True))
        )

    @property
    def is_lost_glance(self) -> bool:
        """Whether it looked for a fresh entry alone and the store's answer was lost."""
        return self.degraded and self.ask.lookup is not None and self.ask.lookup.is_glance

    @property
    def _was_free(self) -> bool:
        lookup = self.ask.lookup
        return self.verdict in (Verdict.FRESH, Verdict.STALE) and lookup is not None and lookup.hit_cost == 0

    def refusal(self, jitter: Callable[[], float] = random.random) -> GatehouseError:
        """The error for a request that is not let in. A ``retry_after`` is ``wait_s`` in whole seconds, rounded up, at least 1, and up to
        a tenth (at most a minute) more, so that refused callers do not come back all at once.
        """
        seconds = seconds_of(self.wait_s, jitter)
        return refusal_of(
            self.verdict, Case(self.plan.policy, self._counted(), seconds, self.ask, self.answer)
        )

    def _counted(self) -> tuple[Refused, ...]:
        if self.verdict not in _REFUSING:
            return ()
        return tuple(r for r in self._refusals() if not r.is_shadow)

    def _refusals(self) -> Iterator[Refused]:
        for state in self.states:
            if not state.passed:
                yield Refused("limit", state.limit.name, state.limit.shadow, state.retry_after)
        answer = self.answer
        if answer is None:
            return
        for allowance, (passed, _) in zip(self.ask.allowances, answer.quotas, strict=False):
            if not passed:
                wait = max((allowance.end_ms - self.now_ms) / 1000, 0.0)
                yield Refused("quota", allowance.name, allowance.shadow, wait)
        for slot, passed in zip(self.ask.slots, answer.slots, strict=False):
            if not passed:
                yield Refused("slot", slot.name, slot.shadow, _SLOT_WAIT_S, slot.scope)
        if answer.credit and self.ask.hold is not None:
            yield Refused(
                "credits", "credits", self.ask.hold.shadow, _SLOT_WAIT_S if answer.credit == 1 else -1.0
            )
