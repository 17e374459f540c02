"""What an engine works with, and how it asks ADMIT: every decision is reported."""

from typing import NamedTuple

from app.core.context import Principal, current_context
from app.core.db import Database
from app.core.errors import GatehouseError
from app.core.observability import EventHub, PolicyEvent
from app.core.policies._admission import Admission
from app.core.policies._admitter import Admitter
from app.core.policies._ask import NOTHING, VERDICT_WORDS, Ask, Verdict
from app.core.policies._holds import HoldBook
from app.core.policies._keys import Caller
from app.core.policies._overrides import Overrides
from app.core.policies._plan import Plan
from app.core.policies._providers import CreditLedger, PlanSource
from app.core.policies._renewals import Renewals
from app.core.policies._switches import Switches
from app.core.resilience import Breakers, Clock, Deadlines


class EngineParts(NamedTuple):
    """What an engine works with. ``ledger``, ``holds`` and ``plans`` may be absent; a policy that needs one then says so.

    ``overrides`` and ``switches`` are the operators': options changed by name, and what is switched off. ``renewals`` keep the leases of
    long work; without them the engine makes its own. ``deadlines`` are those of the running loop, if it has any.
    """

    admitter: Admitter
    hub: EventHub
    clock: Clock
    breakers: Breakers
    database: Database | None = None
    ledger: CreditLedger | None = None
    holds: HoldBook | None = None
    plans: PlanSource | None = None
    overrides: Overrides | None = None
    switches: Switches | None = None
    renewals: Renewals | None = None
    deadlines: Deadlines | None = None


async def count(
    parts: EngineParts,
    plan: Plan,
    caller: Caller,
    costs: tuple[int, ...] | None,
    ask: Ask = NOTHING,
    *,
    again: Admission | None = None,
) -> Admission:
    """Ask ADMIT once and report its verdict. A refusal is returned, not raised."""
    started = parts.clock.monotonic()
    try:
        admission = await parts.admitter.admit(plan, caller, costs, ask, again=again)
    except GatehouseError:
        report(parts.hub, plan.policy, "unavailable", "store", caller.principal, degraded=True)
        raise
    store_s = parts.clock.monotonic() - started
    if admission.verdict not in (Verdict.COLD, Verdict.CLOCK):
        report(
            parts.hub,
            plan.policy,
            VERDICT_WORDS[admission.verdict],
            admission.cause_name,
            caller.principal,
            shadowed=admission.shadowed,
            degraded=admission.degraded,
            store_s=store_s,
        )
    return admission


def report(
    hub: EventHub,
    policy: str,
    verdict: str,
    cause: str | None,
    principal: Principal | None,
    *,
    shadowed: tuple[str, ...] = (),
    degraded: bool = False,
    store_s: float = 0.0,
) -> None:
    """Emit one decision; the request, if there is one, comes from the context."""
    principal_id = principal.id if principal is not None else None
    hub.emit(
        PolicyEvent(
            policy, verdict, cause, shadowed, degraded, store_s, current_context().request_id, principal_id
        )
    )
