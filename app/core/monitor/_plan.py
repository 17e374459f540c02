"""A plan of PostgreSQL as a tree of frozen steps.

https://www.postgresql.org/docs/current/using-explain.html. Conditions, keys and outputs are the server's own text and hold the literals of
the statement: whoever shows them redacts them first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from app.core.monitor._explain import StatementRefused

MAX_STEPS = 2_000
_MAX_DEPTH = 250  # What walks a tree may do so recursively.


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """What a step did when the statement ran. Rows and times are of one loop, the means of all of them; buffers of all loops.

    Times in milliseconds, buffers in blocks, and both include the steps below.
    """

    loops: float
    rows: float
    startup_ms: float | None
    total_ms: float | None
    removed_by_filter: float
    removed_by_recheck: float
    removed_by_join: float
    hit_blocks: int
    read_blocks: int
    temp_read_blocks: int
    temp_written_blocks: int
    sort_method: str | None
    sort_space_kb: int | None
    is_sort_on_disk: bool
    hash_batches: int | None
    heap_fetches: int | None
    lossy_blocks: int | None
    exact_blocks: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One step. ``number`` counts from 1 at the top in the order of reading; ``depth`` is 0 there. Costs include the steps below.

    ``relationship`` is how its parent takes it (Outer, Inner, InitPlan, SubPlan, Member, Subquery); ``subplan`` its name there (``CTE x``).
    ``measured`` is None where the statement was only planned.
    """

    number: int
    depth: int
    kind: str
    relationship: str | None = None
    subplan: str | None = None
    operation: str | None = None
    strategy: str | None = None
    partial_mode: str | None = None
    join_type: str | None = None
    schema: str | None = None
    relation: str | None = None
    alias: str | None = None
    index: str | None = None
    scan_direction: str | None = None
    cte: str | None = None
    function: str | None = None
    function_call: str | None = None
    filter: str | None = None
    index_cond: str | None = None
    recheck_cond: str | None = None
    tid_cond: str | None = None
    order_by: str | None = None
    one_time_filter: str | None = None
    join_filter: str | None = None
    hash_cond: str | None = None
    merge_cond: str | None = None
    sort_key: tuple[str, ...] = ()
    presorted_key: tuple[str, ...] = ()
    group_key: tuple[str, ...] = ()
    grouping_sets: tuple[tuple[str, ...], ...] = ()
    cache_key: str | None = None
    output: tuple[str, ...] = ()
    workers_planned: int = 0
    is_parallel: bool = False
    is_disabled: bool = False
    rows: float
    width: int
    startup_cost: float
    total_cost: float
    measured: StepRun | None = None
    children: tuple["PlanStep", ...] = ()

    @property
    def table(self) -> str | None:
        """``schema.relation`` without quotes, None for a step that reads no table."""
        return f"{self.schema}.{self.relation}" if self.relation is not None else None

    @property
    def own_cost(self) -> float:
        """What this step adds to those below it; subplans that are run once are counted where they stand. Never below 0."""
        return max(0.0, self.total_cost - sum(child.total_cost for child in self.children))

    def walk(self) -> Iterator["PlanStep"]:
        """This step and all below it, from the top down."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole plan. Times in milliseconds, None where the statement was only planned; ``settings``: those that are no defaults."""

    root: PlanStep
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    planning_ms: float | None = None
    execution_ms: float | None = None
    jit_ms: float | None = None

    @property
    def is_analyzed(self) -> bool:
        """Whether the statement ran."""
        return self.root.measured is not None


def plan_of(document: dict[str, Any]) -> Plan:
    """``document`` (what ``explain`` gave) as a tree. Raises StatementRefused for one of more than 2,000 steps, or 250 levels."""
    jit = document.get("JIT", {}).get("Timing", {}).get("Total")
    return Plan(
        root=_Reader().step(document["Plan"], 0),
        settings=MappingProxyType(dict(document.get("Settings", {}))),
        planning_ms=document.get("Planning Time"),
        execution_ms=document.get("Execution Time"),
        jit_ms=jit,
    )


_TEXTS = {
    "relationship": "Parent Relationship",
    "subplan": "Subplan Name",
    "operation": "Operation",
    "strategy": "Strategy",
    "partial_mode": "Partial Mode",
    "join_type": "Join Type",
    "schema": "Schema",
    "relation": "Relation Name",
    "alias": "Alias",
    "index": "Index Name",
    "scan_direction": "Scan Direction",
    "cte": "CTE Name",
    "function": "Function Name",
    "function_call": "Function Call",
    "filter": "Filter",
    "index_cond": "Index Cond",
    "recheck_cond": "Recheck Cond",
    "tid_cond": "TID Cond",
    "order_by": "Order By",
    "one_time_filter": "One-Time Filter",
    "join_filter": "Join Filter",
    "hash_cond": "Hash Cond",
    "merge_cond": "Merge Cond",
    "cache_key": "Cache Key",
}


class _Reader:
    def __init__(self) -> None:
        self._count = 0

    def step(self, node: dict[str, Any], depth: int) -> PlanStep:
        self._count += 1
        number = self._count
        if number > MAX_STEPS or depth > _MAX_DEPTH:
            raise StatementRefused(f"its plan has more than {MAX_STEPS:,} steps, or {_MAX_DEPTH} levels")
        texts = {name: node[key] for name, key in _TEXTS.items() if node.get(key) is not None}
        return PlanStep(
            number=number,
            depth=depth,
            kind=node["Node Type"],
            sort_key=tuple(node.get("Sort Key", ())),
            presorted_key=tuple(node.get("Presorted Key", ())),
            group_key=tuple(node.get("Group Key", ())),
            grouping_sets=_grouping_sets(node),
            output=tuple(node.get("Output", ())),
            workers_planned=node.get("Workers Planned", 0),
            is_parallel=node.get("Parallel Aware", False),
            is_disabled=node.get("Disabled", False),
            rows=node["Plan Rows"],
            width=node["Plan Width"],
            startup_cost=node["Startup Cost"],
            total_cost=node["Total Cost"],
            measured=_measured(node),
            children=tuple(self.step(below, depth + 1) for below in node.get("Plans", ())),
            **texts,
        )


def _grouping_sets(node: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    sets = (found for one in node.get("Grouping Sets", ()) for found in one.get("Group Keys", ()))
    return tuple(tuple(keys) for keys in sets)


def _measured(node: dict[str, Any]) -> StepRun | None:
    if "Actual Loops" not in node:
        return None
    return StepRun(
        loops=node["Actual Loops"],
        rows=node.get("Actual Rows", 0),
        startup_ms=node.get("Actual Startup Time"),
        total_ms=node.get("Actual Total Time"),
        removed_by_filter=node.get("Rows Removed by Filter", 0),
        removed_by_recheck=node.get("Rows Removed by Index Recheck", 0),
        removed_by_join=node.get("Rows Removed by Join Filter", 0),
        hit_blocks=node.get("Shared Hit Blocks", 0),
        read_blocks=node.get("Shared Read Blocks", 0),
        temp_read_blocks=node.get("Temp Read Blocks", 0),
        temp_written_blocks=node.get("Temp Written Blocks", 0),
        sort_method=node.get("Sort Method"),
        sort_space_kb=node.get("Sort Space Used"),
        is_sort_on_disk=node.get("Sort Space Type") == "Disk",
        hash_batches=node.get("Hash Batches", node.get("HashAgg Batches")),
        heap_fetches=node.get("Heap Fetches"),
        lossy_blocks=node.get("Lossy Heap Blocks"),
        exact_blocks=node.get("Exact Heap Blocks"),
    )
