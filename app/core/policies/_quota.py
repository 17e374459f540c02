"""Quota: how much an account may use per calendar day or month in its own time zone, by its plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.core.errors import PolicyRejected
from app.core.policies._rate_limit import Cost
from app.core.policies._words import between, named, one_of

Period = Literal["day", "month"]
QuotaDown = Literal["local", "open", "closed"]
DEFAULT_PLAN = "default"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"


class QuotaExceeded(PolicyRejected):
    """The plan's allowance of this day or month is used up; ``retry_after``: when the next begins."""

    type = QUOTA_EXCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A plan's allowance of one endpoint, charged only when everything else agrees, and given back when the request fails.

    per: the calendar day or month of the account's time zone (UTC unless the account says otherwise).
    limit: uses per period, 0 to 1,000,000,000,000, for everybody, or by plan: ``{"default": 100, "pro": 10_000}``;
        ``default`` is for all other plans and must be there.
    cost: uses that one request takes, 0 to 1,000,000,000, or a function of its head.
    name: what callers and metrics see; the period's name if empty.
    shared: endpoints that give the same word spend one quota.
    shadow: record a refusal, do not refuse.
    on_store_down: ``local`` counts on in this process with what was left, divided by REPLICAS; ``open`` lets all pass; ``closed`` is 503.
    """

    per: Period
    limit: int | Mapping[str, int]
    cost: Cost = 1
    name: str = ""
    shared: str | None = None
    shadow: bool = False
    on_store_down: QuotaDown = "local"

    def __post_init__(self) -> None:
        one_of("Quota", "per", self.per, Period)
        one_of("Quota", "on_store_down", self.on_store_down, QuotaDown)
        object.__setattr__(self, "name", self.name or self.per)
        named("Quota", "name", [self.name] if self.shared is None else [self.name, self.shared])
        if isinstance(self.limit, Mapping):
            if DEFAULT_PLAN not in self.limit:
                raise ValueError("Quota.limit by plan must say what 'default' gets")
            object.__setattr__(self, "limit", dict(self.limit))
        for limit in self.limits.values():
            between("Quota", "limit", limit, 0, 1_000_000_000_000)
        if not callable(self.cost):
            between("Quota", "cost", self.cost, 0, 1_000_000_000)

    def __hash__(self) -> int:
        return hash((self.per, tuple(sorted(self.limits.items())), self.cost, self.name, self.shared))

    @property
    def limits(self) -> Mapping[str, int]:
        """The allowance by plan."""
        return self.limit if isinstance(self.limit, Mapping) else {DEFAULT_PLAN: self.limit}

    def limit_of(self, plan: str) -> int:
        """What a plan gets."""
        limits = self.limits
        return limits.get(plan, limits[DEFAULT_PLAN])
