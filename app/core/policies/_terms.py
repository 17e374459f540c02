"""One endpoint's quotas, slots and credits, compiled: what ADMIT is asked for, for one caller. No HTTP: jobs ask the same way."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import uuid_utils

from app.core.errors import ConfigurationError
from app.core.policies._ask import Allowance, Ask, Claim, Hold, Lookup, Slot
from app.core.policies._calendar import window_at
from app.core.policies._concurrency import Concurrency
from app.core.policies._cost import cost_of
from app.core.policies._credits import CREDIT, MOST_CREDITS
from app.core.policies._job_config import JobConfig
from app.core.policies._keys import Caller, tenant_partition, user_partition
from app.core.policies._providers import AccountPlan, PlanSource
from app.core.policies._quota import Quota
from app.core.policies._rate_limit import CostRequest

_MARGIN_S = 10.0  # a lease outlives the deadline by this, for the commit and the settlement
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_ACCOUNT = ":v1:c"
_MOST_USES = 1_000_000_000  # of one request
NO_REQUEST = CostRequest("", {}, {}, None)


class Terms:
    """What ``config`` asks of ADMIT beyond its rate limits.

    ``server_ms`` reads the store's clock in ms: calendar periods are cut by it, not by ours.
    """

    def __init__(
        self, policy: str, config: JobConfig, *, plans: PlanSource | None, server_ms: Callable[[], int]
    ) -> None:
        self._policy = policy
        self._plans = plans if config.quotas else None
        self._server_ms = server_ms
        self._quotas = config.quotas
        self._shadow = config.shadow
        self._credits = config.credits
        self.lease_s = (config.timeout or 30.0) + _MARGIN_S
        self._slots = tuple(_slot(policy, slot, config) for slot in config.slots)
        self._has_cost_functions = any(callable(quota.cost) for quota in config.quotas)
        self._of_minute = lru_cache(maxsize=4096)(self._make_allowances)

    async def ask(
        self,
        caller: Caller,
        request: CostRequest = NO_REQUEST,
        *,
        claim: Claim | None = None,
        lookup: Lookup | None = None,
        circuit_open: bool = False,
    ) -> Ask:
        """The question for one request. Raises Unprocessable (422) when a cost function refuses it, Unavailable when the plan cannot
        be read.
        """
        return Ask(
            claim,
            lookup,
            circuit_open,
            await self._allowances(caller, request) if self._quotas else (),
            tuple([slot.of(caller) for slot in self._slots]),
            self._hold(caller, request, claim) if self._credits is not None else None,
        )

    async def again(self, asked: Ask, caller: Caller, lookup: Lookup | None) -> Ask | None:
        """The question that ``asked`` was, for the same caller's next request. None where it has become another one: his plan or the minute
        has changed. Not with costs that depend on the request. Raises Unavailable when the plan cannot be read.
        """
        _, _, _, allowances, slots, hold, _, token = asked
        if self._quotas and await self._allowances(caller, NO_REQUEST) != allowances:
            return None
        if hold is not None:
            key, micro, lease_ms, _, shadow = hold
            hold = Hold(key, micro, lease_ms, self._settlement_key(None), shadow)
        return Ask(None, lookup, False, allowances, slots, hold, (), token)

    async def _allowances(self, caller: Caller, request: CostRequest) -> tuple[Allowance, ...]:
        principal = caller.principal
        if principal is None:
            raise ConfigurationError(f"The quota of {self._policy} needs an account and the caller has none")
        plan = await self._plans.plan_of(principal.id) if self._plans is not None else AccountPlan()
        partition, now = user_partition(caller), self._server_ms()
        if self._has_cost_functions:
            return self._make_allowances(plan, partition, now // _MINUTE_MS, request)
        return self._of_minute(plan, partition, now // _MINUTE_MS)

    def _make_allowances(
        self, plan: AccountPlan, partition: str, minute: int, request: CostRequest = NO_REQUEST
    ) -> tuple[Allowance, ...]:
        """The same for a whole minute: days and months end where minutes do."""
        now = minute * _MINUTE_MS
        return tuple([self._allowance(quota, plan, partition, now, request) for quota in self._quotas])

    def _allowance(
        self, quota: Quota, plan: AccountPlan, partition: str, now: int, request: CostRequest
    ) -> Allowance:
        window = window_at(now, quota.per, plan.time_zone)
        shadow = quota.shadow or self._shadow
        bucket = f"={quota.shared}" if quota.shared is not None else f"{self._policy}.{quota.name}"
        return Allowance(
            f"{{{partition}}}:v1:q:{bucket}:{quota.per[0]}{window.name}",
            window.end_ms,
            quota.limit_of(plan.plan),
            cost_of(quota.cost, request, f"{self._policy}.{quota.name}", _MOST_USES, shadow=shadow),
            shadow,
            quota.on_store_down,
            quota.name,
        )

    def _hold(self, caller: Caller, request: CostRequest, claim: Claim | None) -> Hold | None:
        assert self._credits is not None  # noqa: S101 - asked by the caller
        cost = cost_of(
            self._credits.cost, request, f"{self._policy}.credits", MOST_CREDITS, shadow=self._shadow
        )
        if cost == 0:
            return None
        if caller.principal is None:
            raise ConfigurationError(f"The credits of {self._policy} need an account and the caller has none")
        return Hold(
            f"{{{user_partition(caller)}}}{_ACCOUNT}",
            cost * CREDIT,
            int(self.lease_s * 1000),
            self._settlement_key(claim),
            self._shadow,
        )

    def _settlement_key(self, claim: Claim | None) -> str:
        if claim is None:
            return f"r:{uuid_utils.uuid7().hex}"
        # A rerun after a takeover is the same charge; the same key used again after its retention is another one.
        period = max(claim.retention_ms, _DAY_MS)
        return f"i:{claim.key}:{self._server_ms() // period}"


class _Slot(NamedTuple):
    name: str
    partition: Callable[[Caller], str] | None
    key: str
    most: int
    lease_ms: int
    shadow: bool
    on_store_down: str
    scope: str

    def of(self, caller: Caller) -> Slot:
        key = self.key if self.partition is None else f"{{{self.partition(caller)}}}{self.key}"
        return Slot(key, self.most, self.lease_ms, self.shadow, self.on_store_down, self.name, self.scope)


def _slot(policy: str, slot: Concurrency, config: JobConfig) -> _Slot:
    lease_s = slot.lease or min(config.timeout or 30.0, 30.0)
    partition: Callable[[Caller], str] | None = None
    if slot.scope in ("user", "tenant"):
        partition = user_partition if slot.scope == "user" else tenant_partition
        key = f":v1:s:{policy}.{slot.name}"
    else:
        bucket = f"{policy}.{slot.name}" if slot.scope == "route" else f"*.{slot.name}"
        key = f"{{s:{bucket}}}:v1:s:{bucket}"
    return _Slot(
        slot.name,
        partition,
        key,
        slot.max,
        int(lease_s * 1000),
        config.shadow,
        slot.on_store_down,
        slot.scope,
    )


def twins_of(settlement_key: str) -> tuple[str, str]:
    """What the charge of an idempotency key is called in the periods before and after: a rerun may begin in another one than the run."""
    stem, _, period = settlement_key.rpartition(":")
    return f"{stem}:{int(period) - 1}", f"{stem}:{int(period) + 1}"


def account_key(account: str) -> str:
    """Where the account's balance and holds stand."""
    return f"{{{user_partition(Caller.of(account))}}}{_ACCOUNT}"
