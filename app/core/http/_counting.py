"""Limits that are counted beside a gate: decided by its engine, shown in the same fields, reported the same way."""

from app.core.http._fields import Field, limit_field
from app.core.http._state import RequestState
from app.core.policies import Admission, Caller, Engine, Plan


async def count_and_show(
    engine: Engine,
    plan: Plan,
    caller: Caller,
    state: RequestState | None,
    *,
    field: Field | None,
    costs: tuple[int, ...] | None = None,
) -> Admission:
    """Charge ``plan`` and add its RateLimit fields to the answer of the request in hand. A refusal is returned, not raised.

    field: the plan's RateLimit-Policy; None for one whose limits do not show.
    """
    admission = await engine.count(plan, caller, costs)
    if state is not None:
        state.outcome = "admitted" if admission.allowed else "limited"
        if not admission.degraded and field is not None:
            state.headers += (field, limit_field(admission))
    return admission
