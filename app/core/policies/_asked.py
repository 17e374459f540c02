"""What a question is made of, as ADMIT is asked it."""

from collections.abc import Sequence

from app.core.policies._admission import Admission
from app.core.policies._ask import NOTHING, Ask
from app.core.policies._cluster_parts import Part, part_of
from app.core.policies._plan import Plan
from app.core.policies._questions import flatten
from app.core.policies._settlement import RECEIPT_MS, first_key, receipt_key
from app.core.valkey import StoreError, StoreReplyError


def is_of_slots(error: StoreError) -> bool:
    """Whether the server has shown that it is a Cluster, by refusing a call. Nobody need have known: it was not run."""
    return isinstance(error, StoreReplyError) and error.code == "CROSSSLOT"


def trimmed(ask: Ask) -> Ask:
    """Without what takes nothing."""
    if ask.hold is not None and ask.hold.micro == 0:
        ask = ask._replace(hold=None)
    return ask if any(ask) else NOTHING


def question_of(asked: Admission, part: Part) -> Admission:
    """The part of it that goes to one slot of a Cluster."""
    return asked._replace(
        plan=part_of(asked.plan, part),
        keys=[asked.keys[i] for i in part.limits],
        costs=tuple([asked.costs[i] for i in part.limits]),
        ask=part.ask,
    )


def must_have_store(ask: Ask) -> bool:
    """Whether an outage would mean a refusal, so that waiting longer is worth it."""
    return (
        ask.claim is not None
        or ask.price is not None
        or (bool(ask.allowances) and any(a.on_store_down == "closed" for a in ask.allowances))
    )


def call_of(asked: Admission, versions: bytes = b"") -> tuple[list[str], list[bytes]]:
    """Keys and arguments of the script; ``versions`` as for ``flatten``."""
    plan, ask, rid = asked.plan, asked.ask, asked.rid
    names = [receipt_key(first_key(asked), rid), *asked.keys]
    values = [RECEIPT_MS, plan.size, *plan.arguments(asked.costs)]
    if ask is not NOTHING:
        flatten(ask, rid, names, values, versions=versions)
    return names, values


def without_open(plan: Plan, numbers: Sequence[int]) -> tuple[int, int]:
    """Verdict and cause while the store is away: limits that let all pass then refuse nobody."""
    for i, limit in enumerate(plan.limits):
        if not numbers[4 * i] and not limit.shadow and limit.on_store_down != "open":
            return 1, i + 1
    return 0, 0
