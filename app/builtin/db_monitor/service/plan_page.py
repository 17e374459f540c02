"""A plan as a page shows it: a tree of steps, each with its numbers in words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.core.monitor import (
    Advice,
    MonitorServer,
    ShownStep,
    StatementReport,
    advise,
    report_on,
    shown_steps,
    text_of,
)

_WARN_PERCENT, _CRITICAL_PERCENT = 10.0, 40.0  # Of PEV2's bands (10, 40, 90) those that change what one does.


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One step. ``state`` is empty, ``warning`` or ``critical`` by what the step itself costs; ``mark`` says it in words."""

    name: str
    lines: tuple[str, ...]
    state: str
    mark: str
    children: list["PlanNode"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlanPage:
    """A statement's report, and its plan as a tree."""

    report: StatementReport
    root: PlanNode


async def plan_of_known(server: MonitorServer, queryid: int) -> PlanPage:
    """Of a statement of pg_stat_statements. Raises as ``text_of`` and ``report_on`` do."""
    return await plan_of_text(server, await text_of(server, queryid))


async def plan_of_text(server: MonitorServer, sql: str, *, analyze: bool = False) -> PlanPage:
    """Of any statement. Raises as ``report_on`` does."""
    report = await report_on(server, sql, analyze=analyze)
    return PlanPage(report, tree(shown_steps(report.plan)))


async def advice_on_known(server: MonitorServer, queryid: int) -> Advice:
    """On a statement of pg_stat_statements. Raises as ``text_of`` and ``advise`` do."""
    return await advise(server, await text_of(server, queryid))


def tree(steps: Sequence[ShownStep]) -> PlanNode:
    """The steps, which come from the top down, each below its parent."""
    nodes: dict[int, PlanNode] = {}
    for step in steps:
        nodes[step.number] = node = _node(step)
        if step.parent is not None:
            nodes[step.parent].children.append(node)
    return nodes[steps[0].number]


def _node(step: ShownStep) -> PlanNode:
    name = (
        step.kind + (f" on {step.table}" if step.table else "") + (f" as {step.alias}" if step.alias else "")
    )
    state, mark = _state(step)
    return PlanNode(name, tuple(_lines(step)), state, mark)


def _state(step: ShownStep) -> tuple[str, str]:
    if step.cost_percent < _WARN_PERCENT:
        return "", ""
    words = f"{step.cost_percent:g} % of the cost"
    most = ", the most of all" if step.is_costliest else ""
    return ("critical" if step.cost_percent >= _CRITICAL_PERCENT else "warning"), words + most


def _lines(step: ShownStep) -> list[str]:
    lines = [f"{label}: {text}" for label, text in step.details]
    if step.index:
        lines.insert(0, f"by the index {step.index}")
    if step.subplan:
        lines.insert(0, step.subplan)
    lines.append(
        f"about {step.rows:,.0f} rows of {step.width} bytes, cost {step.startup_cost:,.2f} to {step.total_cost:,.2f}"
    )
    return lines + _measured(step)


def _measured(step: ShownStep) -> list[str]:
    ran = step.measured
    if ran is None:
        return []
    time = f", {ran.total_ms * ran.loops:,.2f} ms" if ran.total_ms is not None else ""
    lines = [f"ran {ran.loops:,.0f} times, {ran.rows:,.0f} rows each{time}"]
    if ran.removed_by_filter:
        lines.append(f"{ran.removed_by_filter:,.0f} rows removed by the filter, each time")
    lines.append(f"{ran.hit_blocks:,} blocks from memory, {ran.read_blocks:,} from outside")
    if ran.temp_read_blocks or ran.temp_written_blocks:
        lines.append(f"{ran.temp_read_blocks + ran.temp_written_blocks:,} blocks of temporary files")
    return lines
