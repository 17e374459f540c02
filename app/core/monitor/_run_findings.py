"""What only a run of the statement shows: wrong estimates, and steps that did not fit."""

from collections.abc import Iterator

from app.core.monitor._panel import Finding
from app.core.monitor._plan import Plan, PlanStep, StepRun
from app.core.monitor._plan_findings import plan_finding

_ENOUGH = 100.0  # Rows; being wrong about fewer changes no plan.
_MOST = 3


def run_findings(
    plan: Plan,
    *,
    estimate_off: float = 10.0,
    removed_share: float = 0.9,
    fetched_share: float = 0.4,
    jit_share: float = 0.2,
) -> tuple[Finding, ...]:
    """Findings of a plan that was run; none for one that was not. The three worst estimates, and what each step had to do besides."""
    if not plan.is_analyzed:
        return ()
    found = [*_estimates(plan, estimate_off), *_jit(plan, jit_share)]
    for step in plan.root.walk():
        if step.measured is not None and step.measured.loops > 0:
            found += _removed(step, step.measured, removed_share)
            found += _fetched(step, step.measured, fetched_share)
            found += _did_not_fit(step, step.measured)
    return tuple(found)


def _estimates(plan: Plan, limit: float) -> Iterator[Finding]:
    off = sorted(((_factor(step), step) for step in plan.root.walk()), key=lambda it: -it[0])
    for factor, step in off[:_MOST]:
        if factor < limit or step.measured is None:
            return
        yield plan_finding(
            "estimate",
            "warning" if factor >= 10 * limit else "info",
            step,
            f"The planner was wrong by a factor of {factor:,.0f} about how many rows this step gives",
            f"It expected {step.rows:,.0f} and there were {step.measured.rows:,.0f}, each time it ran",
            "ANALYZE the tables; for columns that depend on each other CREATE STATISTICS, for skewed ones a higher statistics target",
        )


def _factor(step: PlanStep) -> float:
    if step.measured is None or step.measured.loops == 0 or max(step.rows, step.measured.rows) < _ENOUGH:
        return 0.0
    low, high = sorted((max(1.0, step.rows), max(1.0, step.measured.rows)))
    return high / low


def _removed(step: PlanStep, run: StepRun, limit: float) -> Iterator[Finding]:
    removed = run.removed_by_filter + run.removed_by_recheck + run.removed_by_join
    if (
        step.kind == "Seq Scan"
        or removed * run.loops < 10 * _ENOUGH
        or removed <= limit * (removed + run.rows)
    ):
        return  # Of a Seq Scan the share of the table is told.
    yield plan_finding(
        "rows_removed",
        "warning",
        step,
        "Most rows that this step reads are thrown away",
        f"{removed * run.loops:,.0f} removed, {run.rows * run.loops:,.0f} kept",
        "Put the columns of its filter into the index that it uses, or make the join's condition one that an index serves",
    )


def _fetched(step: PlanStep, run: StepRun, limit: float) -> Iterator[Finding]:
    fetches = run.heap_fetches or 0
    if fetches >= _ENOUGH and fetches > limit * run.rows * run.loops:
        yield plan_finding(
            "heap_fetches",
            "info",
            step,
            "An index-only scan had to look into the table all the same",
            f"{fetches:,} looks for {run.rows * run.loops:,.0f} rows",
            "VACUUM the table, or let autovacuum come more often",
        )


def _did_not_fit(step: PlanStep, run: StepRun) -> Iterator[Finding]:
    fix = "Sort or hash fewer and narrower rows, use an index that has the order, or raise work_mem for this statement"
    if run.is_sort_on_disk:
        evidence = f"{run.sort_space_kb or 0:,} kB on disk, {run.sort_method or 'sorted outside of memory'}"
        yield plan_finding("sort_on_disk", "warning", step, "A sort did not fit into work_mem", evidence, fix)
    if (run.hash_batches or 1) > 1:
        yield plan_finding(
            "hash_batches",
            "warning",
            step,
            "A hash table did not fit into work_mem",
            f"{run.hash_batches} batches",
            fix,
        )
    if run.lossy_blocks:
        evidence = f"{run.lossy_blocks:,} pages remembered as a whole, {run.exact_blocks or 0:,} by row"
        title = "A bitmap did not fit into work_mem, so all rows of its pages are checked again"
        yield plan_finding(
            "lossy_bitmap", "info", step, title, evidence, "Raise work_mem for this statement, or select less"
        )


def _jit(plan: Plan, limit: float) -> Iterator[Finding]:
    if plan.jit_ms is not None and plan.execution_ms and plan.jit_ms > limit * plan.execution_ms:
        yield plan_finding(
            "jit",
            "info",
            plan.root,
            "Compiling the statement took much of its time",
            f"{plan.jit_ms:,.1f} ms of {plan.execution_ms:,.1f} ms",
            "Raise jit_above_cost, or turn jit off for such statements",
        )
