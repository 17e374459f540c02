"""What is worth knowing about a plan, in plain words. Each finding names its step, and none quotes a value of the statement.

Thresholds are those that PEV2, PgHero and our own measurements agree on (see docs/monitor.md); stale statistics come first, because all
that follows from them is noise.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from app.core.monitor._figures import moment
from app.core.monitor._panel import Finding, Severity
from app.core.monitor._plan import Plan, PlanStep
from app.core.monitor._planned_tables import PlannedTable

_SMALL_ROWS: Final = 1_000
_SMALL_PAGES: Final = 10


def plan_findings(
    plan: Plan,
    tables: Mapping[str, PlannedTable],
    *,
    is_generic: bool = False,
    stale_share: float = 0.10,
    strong_share: float = 0.01,
    weak_share: float = 0.05,
    skipped_rows: float = 1_000,
) -> tuple[Finding, ...]:
    """Findings of ``plan``, in the order in which to act on them.

    A Seq Scan that keeps at most ``strong_share`` of its table is a warning, up to ``weak_share`` information, above it none: reading all
    is right then. Tables below 1,000 rows or 10 pages are left alone. ``is_generic``: planned without values, so what hangs on them is
    not said.
    """
    found = list(_stale(tables, stale_share))
    for step in plan.root.walk():
        found += _seq_scan(step, plan, tables, strong_share, weak_share)
        found += _repeated_scan(step, tables)
        found += [] if is_generic else _offset(step, skipped_rows)
    return tuple(found)


def plan_finding(check: str, severity: Severity, about: PlanStep | str, *words: str) -> Finding:
    """A finding of a plan, about one of its steps or a table by its name. ``words``: title, evidence, fix."""
    title, evidence, fix = words
    subject = about if isinstance(about, str) else step_name(about)
    return Finding(
        check=f"plan.{check}", severity=severity, subject=subject, title=title, evidence=evidence, fix=fix
    )


def step_name(step: PlanStep) -> str:
    """``step 3: Seq Scan on public.orders``."""
    return f"step {step.number}: {step.kind}" + (f" on {step.table}" if step.table else "")


def _stale(tables: Mapping[str, PlannedTable], share: float) -> Iterator[Finding]:
    for name, table in tables.items():
        if table.rows < 0:
            evidence = "No ANALYZE has counted its rows"
        elif table.changed >= max(_SMALL_ROWS, share * table.rows):
            since = moment(table.analyzed_at) if table.analyzed_at else "the statistics began"
            evidence = f"{table.changed:,.0f} rows changed since {since}, of {table.rows:,.0f}"
        else:
            continue
        title = f"The planner's statistics of {name} are old or missing, so its estimates are guesses"
        yield plan_finding(
            "statistics", "warning", name, title, evidence, "Run ANALYZE on it first, then look again"
        )


def _seq_scan(
    step: PlanStep, plan: Plan, tables: Mapping[str, PlannedTable], strong: float, weak: float
) -> Iterator[Finding]:
    table = tables.get(step.table or "")
    if step.kind != "Seq Scan" or step.filter is None or table is None or _is_small(table):
        return
    kept = _kept(step, plan)
    share = kept / table.rows
    if share > weak:
        return
    yield plan_finding(
        "seq_scan",
        "warning" if share <= strong else "info",
        step,
        f"All of {table.name} is read to keep {100 * share:.2g} % of its rows",
        f"{kept:,.0f} of {table.rows:,.0f} rows, {table.pages:,} pages",
        "An index on the columns of its condition may help"
        if share <= strong
        else "An index pays only if the statement is frequent, or has a LIMIT",
    )


def _is_small(table: PlannedTable) -> bool:
    return table.rows < _SMALL_ROWS or table.pages < _SMALL_PAGES


def _kept(step: PlanStep, plan: Plan) -> float:
    """Rows that a scan keeps in all workers together."""
    if step.measured is not None:
        workers = max(1.0, step.measured.loops) if step.is_parallel else 1.0
        return step.measured.rows * workers
    return step.rows * (_share_of_leader(plan, step) if step.is_parallel else 1.0)


def _share_of_leader(plan: Plan, step: PlanStep) -> float:
    """What the planner divided the rows of a parallel step by: get_parallel_divisor() in costsize.c."""
    above = [it for it in plan.root.walk() if it.workers_planned and any(low is step for low in it.walk())]
    workers = above[-1].workers_planned if above else 0
    return workers + max(0.0, 1 - 0.3 * workers)


def _repeated_scan(
    step: PlanStep, tables: Mapping[str, PlannedTable], limit: float = 1_000
) -> Iterator[Finding]:
    if step.kind != "Nested Loop" or len(step.children) != 2:
        return
    outer, inner = step.children
    table = tables.get(inner.table or "")
    if inner.kind != "Seq Scan" or table is None or table.pages < _SMALL_PAGES:
        return
    loops = inner.measured.loops if inner.measured else outer.rows
    if loops >= limit:
        yield plan_finding(
            "nested_loop",
            "warning",
            inner,
            f"All of {table.name} is read once for each row of the other side",
            f"{loops:,.0f} times {table.pages:,} pages",
            "An index on the column that joins them, or statistics that let the planner hash them",
        )


def _offset(step: PlanStep, limit: float) -> Iterator[Finding]:
    """OFFSET is not in a plan; what is skipped shows in rows that ran, or in when the planner says that the first row comes."""
    if step.kind != "Limit" or not step.children:
        return
    below = step.children[0]
    if step.measured and below.measured:
        skipped = below.measured.rows - step.measured.rows
    else:
        run = below.total_cost - below.startup_cost
        skipped = below.rows * (step.startup_cost - below.startup_cost) / run if run > 0 else 0.0
    if skipped >= limit:
        yield plan_finding(
            "offset",
            "warning",
            step,
            "Rows are computed only to be skipped",
            f"About {skipped:,.0f} rows before the first that is wanted",
            "Continue after the last row seen (WHERE key > last ORDER BY key) instead of OFFSET",
        )
