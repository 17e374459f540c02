"""A plan as it may be shown: in the order of reading, without the statement's values, with the costly steps marked."""

from dataclasses import dataclass

from app.core.db import shape_of
from app.core.monitor._plan import Plan, PlanStep, StepRun

_CONDITIONS = {
    "filter": "Filter",
    "index_cond": "Index Cond",
    "recheck_cond": "Recheck Cond",
    "join_filter": "Join Filter",
    "hash_cond": "Hash Cond",
    "merge_cond": "Merge Cond",
    "tid_cond": "TID Cond",
    "order_by": "Order By",
    "one_time_filter": "One-Time Filter",
    "cache_key": "Cache Key",
    "function_call": "Function Call",
}
_KEYS = {"sort_key": "Sort Key", "presorted_key": "Presorted Key", "group_key": "Group Key"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownStep:
    """One step. ``parent`` is the number of the step above, None at the top. ``details`` are label and text, every value in it as ``?``.

    ``cost_percent`` is what the step itself costs of the whole plan, without the steps below it; ``is_costliest`` marks the greatest.
    """

    number: int
    parent: int | None
    depth: int
    kind: str
    table: str | None
    alias: str | None
    index: str | None
    subplan: str | None
    details: tuple[tuple[str, str], ...]
    rows: float
    width: int
    startup_cost: float
    total_cost: float
    cost_percent: float
    is_costliest: bool
    measured: StepRun | None


def shown_steps(plan: Plan) -> tuple[ShownStep, ...]:
    """All steps of ``plan`` from the top down."""
    steps = list(plan.root.walk())
    parents = {child.number: step.number for step in steps for child in step.children}
    costliest = max(steps, key=lambda step: step.own_cost).number
    total = max(plan.root.total_cost, *(step.own_cost for step in steps), 0.01)
    return tuple(
        ShownStep(
            number=step.number,
            parent=parents.get(step.number),
            depth=step.depth,
            kind=_kind(step),
            table=step.table,
            alias=step.alias if step.alias != step.relation else None,
            index=step.index,
            subplan=step.subplan,
            details=_details(step),
            rows=step.rows,
            width=step.width,
            startup_cost=step.startup_cost,
            total_cost=step.total_cost,
            cost_percent=round(100 * step.own_cost / total, 1),
            is_costliest=step.number == costliest,
            measured=step.measured,
        )
        for step in steps
    )


def _kind(step: PlanStep) -> str:
    """As the text form of EXPLAIN names it: ``Hash Left Join``, ``Insert``, ``Parallel Seq Scan``."""
    kind = step.operation if step.kind == "ModifyTable" and step.operation else step.kind
    if step.join_type not in {None, "Inner"}:
        kind = f"{kind.removesuffix(' Join')} {step.join_type} Join"
    if step.kind == "Aggregate" and step.strategy == "Hashed":
        kind = "HashAggregate"
    return f"Parallel {kind}" if step.is_parallel else kind


def _details(step: PlanStep) -> tuple[tuple[str, str], ...]:
    found = [(label, getattr(step, name)) for name, label in _CONDITIONS.items()]
    found += [(label, ", ".join(getattr(step, name))) for name, label in _KEYS.items()]
    return tuple((label, shape_of(text)) for label, text in found if text)
