"""What each table costs in the plan that the server would run."""

from collections import defaultdict
from dataclasses import dataclass, field

from app.core.monitor._plan import PlanStep
from app.core.monitor.advice._readings import Tables, canonical

_STREAMS = frozenset(
    [
        "Limit",
        "LockRows",
        "Result",
        "ProjectSet",
        "ModifyTable",
        "Append",
        "Gather",
        "Unique",
        "WindowAgg",
        "Group",
    ]
) | {"Subquery Scan", "Merge Append", "Incremental Sort", "Nested Loop", "Merge Join", "Hash Join"}
_TURNS = 10.0  # So many the planner expects of WITH RECURSIVE.
_KEPT = frozenset({"Materialize", "Memoize", "Hash"})


@dataclass(frozen=True, slots=True)
class Charges:
    """Costs in the planner's unit. ``by_alias``: of reading that table, for the whole statement; ``indexes``: those used for it;
    ``loops``: how often it is read; ``regions``: of what stands at or below a LIMIT, by the tables in it.
    """

    total: float
    by_alias: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    scans: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    indexes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    loops: dict[str, float] = field(default_factory=dict)
    regions: dict[frozenset[str], float] = field(default_factory=dict)


def charges_of(root: PlanStep, tables: Tables) -> Charges:
    """The costs of ``root``, spread over the tables."""
    found = Charges(root.total_cost)
    _Spread(tables, found).visit(root, 1.0, 1.0)
    return found


class _Spread:
    def __init__(self, tables: Tables, found: Charges) -> None:
        self._tables = tables
        self._found = found

    def _alias(self, step: PlanStep) -> str | None:
        table = self._tables.get((step.schema or "", step.relation or ""))
        if step.alias is None:
            return None
        return step.alias if table is None else canonical(step.alias, table)

    def visit(self, step: PlanStep, share: float, loops: float) -> None:
        """``share``: how much of its rows is fetched before a LIMIT is content."""
        alias = self._alias(step)
        if step.relation is not None and alias is not None and step.kind != "ModifyTable":
            self._scan(step, alias, share, loops)
        if step.kind == "Limit":
            share = min(share, self._limited(step))
            aliases = frozenset(it for below in step.walk() if (it := self._alias(below)) is not None)
            self._found.regions.setdefault(aliases, step.total_cost * loops)
        for child in step.children:
            self.visit(child, self._share_of(step, child, share), self._loops_of(step, child, share, loops))

    def _scan(self, step: PlanStep, alias: str, share: float, loops: float) -> None:
        own = step.startup_cost + share * (step.total_cost - step.startup_cost)
        subplans = sum(
            child.total_cost for child in step.children if child.relationship in {"InitPlan", "SubPlan"}
        )
        self._found.by_alias[alias] += max(0.0, own - subplans) * loops
        self._found.scans[alias].add(step.kind)
        self._found.indexes[alias] |= {it.index for it in step.walk() if it.index is not None}
        self._found.loops[alias] = max(loops, self._found.loops.get(alias, 1.0))

    def _limited(self, step: PlanStep) -> float:
        child = step.children[0] if step.children else step
        span = child.total_cost - child.startup_cost
        return min(1.0, max(0.0, (step.total_cost - child.startup_cost) / span)) if span > 0 else 1.0

    def _share_of(self, step: PlanStep, child: PlanStep, share: float) -> float:
        if step.kind not in _STREAMS or child.relationship in {"InitPlan", "SubPlan"}:
            return 1.0
        is_inner = step.join_type is not None and child.relationship == "Inner"
        return 1.0 if is_inner else share

    def _loops_of(self, step: PlanStep, child: PlanStep, share: float, loops: float) -> float:
        if child.relationship == "SubPlan":
            texts = (*step.output, step.filter or "", step.join_filter or "")
            if any(f"hashed {child.subplan}" in text for text in texts):
                return loops
            others = sum(it.total_cost for it in step.children if it is not child)
            return loops * max(1.0, (step.total_cost - others) / max(child.total_cost, 0.01))
        if child.relationship == "Inner" and step.kind == "Recursive Union":
            return loops * _TURNS
        if child.relationship == "Inner" and step.kind == "Nested Loop" and child.kind not in _KEPT:
            outer = next((it.rows for it in step.children if it.relationship == "Outer"), 1.0)
            return loops * max(1.0, outer * share)
        return loops
