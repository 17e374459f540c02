"""A policy's limits, compiled once for the hot path: keys, flat script arguments, and the numbers the answer's fields need."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.core.errors import PolicyRejected
from app.core.policies._cost import cost_of
from app.core.policies._keys import Caller, bucket_of, key_of
from app.core.policies._rate_limit import CostRequest, RateLimit

_KINDS = {"token_bucket": "g", "throttle": "g", "fixed_window": "f", "sliding_window": "s", "debounce": "d"}
ATTEMPT, SHADOW = 1, 2


class CostExceedsLimit(PolicyRejected):
    """What this request takes is more than the limit ever holds: waiting cannot help."""

    status = 422
    title = "Unprocessable Content"


class Counter(NamedTuple):
    """One limit as numbers: ``kind`` and ``a``, ``b`` as in ``lua/admit.lua``."""

    kind: str
    a: int
    b: int
    flags: int


def counter_of(limit: RateLimit, *, share: int = 1) -> Counter:
    """Translate a limit. ``share`` divides it among that many processes (degraded mode), never below one token."""
    flags = (ATTEMPT if limit.charge == "attempt" else 0) | (SHADOW if limit.shadow else 0)
    kind = _KINDS[limit.algorithm]
    if kind == "g":
        interval = limit.interval_us * share
        burst = 1 if limit.algorithm == "throttle" else max((limit.burst or limit.quota) // share, 1)
        return Counter(kind, interval, interval * burst, flags)
    window = round(limit.window * 1_000_000)
    return Counter(kind, window, 0 if kind == "d" else max(limit.quota // share, 1), flags)


class Plan:
    """The limits of one policy, in order. Immutable; ``only`` makes the smaller plans that refusals are charged by."""

    __slots__ = (
        "_arguments",
        "_keys",
        "_parts",
        "_shares",
        "costs",
        "counters",
        "has_closed",
        "has_cost_functions",
        "limits",
        "policy",
        "size",
    )

    def __init__(self, policy: str, limits: Sequence[RateLimit]) -> None:
        self.policy = policy
        self.limits = tuple(limits)
        self.size = b"%d" % len(self.limits)
        self.counters = tuple(counter_of(limit) for limit in limits)
        self.has_closed = any(limit.on_store_down == "closed" for limit in limits)
        self.has_cost_functions = any(callable(limit.cost) for limit in limits)
        self.costs: tuple[int, ...] = tuple(
            limit.cost if isinstance(limit.cost, int) else 1 for limit in limits
        )
        self._keys: tuple[Callable[[Caller], str], ...] = tuple(key_of(policy, limit) for limit in limits)
        self._arguments = self._flatten(self.costs)
        self._shares: dict[int, tuple[Counter, ...]] = {}
        self._parts: dict[tuple[int, ...], Plan] = {}

    def keys(self, caller: Caller) -> list[str]:
        """The caller's bucket of every limit."""
        return [key(caller) for key in self._keys]

    def buckets(self) -> list[tuple[str, RateLimit]]:
        """Bucket names with their limits, for the boot audit: equal names must have equal parameters."""
        return [(bucket_of(self.policy, limit), limit) for limit in self.limits]

    def arguments(self, costs: tuple[int, ...]) -> tuple[bytes, ...]:
        """The flat arguments of the script for these costs; bytes, so that nothing is encoded twice."""
        return self._arguments if costs is self.costs else self._flatten(costs)

    def _flatten(self, costs: tuple[int, ...]) -> tuple[bytes, ...]:
        return tuple(
            str(value).encode()
            for counter, cost in zip(self.counters, costs, strict=True)
            for value in (counter.kind, counter.a, counter.b, cost, counter.flags)
        )

    def shared_by(self, processes: int) -> tuple[Counter, ...]:
        """The counters of one process among ``processes``, for the time that the store is down."""
        if processes not in self._shares:
            self._shares[processes] = tuple(counter_of(limit, share=processes) for limit in self.limits)
        return self._shares[processes]

    def part(self, numbers: tuple[int, ...]) -> "Plan":
        """The limits of these numbers, counted from 0: those that share a slot of a Cluster. Compiled once."""
        if numbers not in self._parts:
            self._parts[numbers] = Plan(self.policy, [self.limits[i] for i in numbers])
        return self._parts[numbers]

    def only(self, keep: Callable[[RateLimit], bool]) -> "Plan":
        """The same policy with some of its limits."""
        return Plan(self.policy, [limit for limit in self.limits if keep(limit)])

    def priced(self, request: CostRequest) -> tuple[int, ...]:
        """Ask the cost functions. Raises CostExceedsLimit (422) for more than a limit holds, Unprocessable (422) when a
        function raises ValueError, ConfigurationError for nonsense.
        """
        costs = []
        for limit in self.limits:
            # In shadow the store refuses what is too much, and that is recorded.
            most = limit.largest_cost + 1 if limit.shadow else None
            cost = cost_of(limit.cost, request, f"{self.policy}.{limit.name}", most, shadow=limit.shadow)
            if cost > limit.largest_cost and not limit.shadow:
                raise CostExceedsLimit(
                    f"This request costs {cost}; the limit {limit.name} holds {limit.largest_cost}.",
                    policy=self.policy,
                    violated=(limit.name,),
                    extensions={"reason": "cost_exceeds_limit", "cost": cost, "limit": limit.largest_cost},
                )
            costs.append(cost)
        return tuple(costs)
