from datetime import UTC, datetime
from typing import Any

import pytest

from app.core.monitor import StatementRefused, plan_of, shown_steps
from app.core.monitor._plan_findings import plan_findings
from app.core.monitor._planned_tables import PlannedTable
from app.core.monitor._run_findings import run_findings
from tests.cases import each_case

WHEN = datetime(2026, 11, 1, 12, tzinfo=UTC)


def node(kind: str, *below: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A step as PostgreSQL writes it; ``loops`` says that it ran."""
    loops = more.pop("loops", None)
    ran = {} if loops is None else {"Actual Loops": loops, "Actual Rows": more.pop("actual", 0)}
    return {
        "Node Type": kind, "Plan Rows": 1, "Plan Width": 8, "Startup Cost": 0.0, "Total Cost": 100.0,
        "Plans": list(below), **ran, **more,
    }  # fmt: skip


def scan(kind: str = "Seq Scan", /, **more: Any) -> dict[str, Any]:
    return node(
        kind,
        **{"Schema": "public", "Relation Name": "t", "Alias": "t", "Filter": "(a = 'hunter2'::text)"} | more,
    )


def table(rows: float = 100_000, pages: int = 1_000, changed: float = 0) -> dict[str, PlannedTable]:
    return {"public.t": PlannedTable("public.t", rows, pages, changed, WHEN)}


def checks(
    top: dict[str, Any], tables: dict[str, PlannedTable] | None = None, /, **document: Any
) -> list[tuple[str, str]]:
    plan = plan_of({"Plan": top, **document})
    found = (*plan_findings(plan, table() if tables is None else tables), *run_findings(plan))
    assert "hunter2" not in repr(found)
    return [(it.check, it.severity) for it in found]


@each_case(
    ("rows", "found"),
    [(1_000, [("plan.seq_scan", "warning")]), (5_000, [("plan.seq_scan", "info")]), (5_001, [])],
)
def test_a_seq_scan_is_told_by_the_share_that_it_keeps(rows: int, found: list[tuple[str, str]]) -> None:
    assert checks(scan(**{"Plan Rows": rows})) == found


@each_case("small", [table(rows=999), table(pages=9)], ids=["rows", "pages"])
def test_of_a_small_table_nothing_is_said(small: dict[str, PlannedTable]) -> None:
    assert checks(scan(), small) == []


def test_a_scan_of_everything_is_right_as_it_is() -> None:
    assert checks(scan(Filter=None)) == []


def test_the_rows_of_a_parallel_scan_are_those_of_all_workers() -> None:
    parallel = scan(
        **{"Plan Rows": 2_500, "Parallel Aware": True}
    )  # Two workers and the leader: 2.4 times that.
    assert checks(node("Gather", parallel, **{"Workers Planned": 2})) == []
    assert checks(
        node("Gather", scan(**{"Plan Rows": 2_000, "Parallel Aware": True}), **{"Workers Planned": 2})
    ) == [("plan.seq_scan", "info")]


@each_case(
    ("known", "is_stale"),
    [
        (table(rows=-1), True),
        (table(changed=10_000), True),
        (table(changed=9_999), False),
        (table(rows=5_000, changed=999), False),
    ],
)
def test_statistics_that_are_stale_come_first(known: dict[str, PlannedTable], is_stale: bool) -> None:
    found = checks(scan(**{"Plan Rows": 10}), known)
    assert (found[0] == ("plan.statistics", "warning")) is is_stale


@each_case(("loops", "found"), [(1_000, ["plan.nested_loop"]), (999, [])])
def test_a_table_that_is_read_again_for_each_row_is_told(loops: int, found: list[str]) -> None:
    outer, inner = scan(Filter=None, **{"Plan Rows": loops}), scan(Filter=None)
    assert [check for check, _ in checks(node("Nested Loop", outer, inner))] == found
    ran = node(
        "Nested Loop", scan(Filter=None, loops=1, actual=1), scan(Filter=None, loops=loops, actual=1), loops=1
    )
    assert [check for check, _ in checks(ran)] == found


@each_case(("start", "found"), [(50.0, ["plan.offset"]), (0.9, []), (0.0, [])])
def test_rows_that_are_skipped_are_told_by_when_the_first_row_comes(start: float, found: list[str]) -> None:
    below = scan(Filter=None, **{"Plan Rows": 100_000})
    plan = plan_of({"Plan": node("Limit", below, **{"Startup Cost": start})})
    assert [it.check for it in plan_findings(plan, table())] == found
    assert plan_findings(plan, table(), is_generic=True) == ()


@each_case(
    ("run", "found"),
    [
        ({"actual": 10_000}, "plan.estimate"),
        ({"actual": 5, "Plan Rows": 5, "Rows Removed by Filter": 2_000}, "plan.rows_removed"),
        ({"actual": 1_000, "Plan Rows": 1_000, "Heap Fetches": 401}, "plan.heap_fetches"),
        (
            {"Sort Method": "external merge", "Sort Space Type": "Disk", "Sort Space Used": 9_000},
            "plan.sort_on_disk",
        ),
        ({"Hash Batches": 2}, "plan.hash_batches"),
        ({"HashAgg Batches": 5}, "plan.hash_batches"),
        ({"Lossy Heap Blocks": 1, "Exact Heap Blocks": 9}, "plan.lossy_bitmap"),
    ],
)
def test_what_only_a_run_shows(run: dict[str, Any], found: str) -> None:
    assert [check for check, _ in checks(scan("Index Scan", loops=1, **run))] == [found]
    assert (
        checks(scan("Index Scan", **{name: value for name, value in run.items() if name != "actual"})) == []
    )


@each_case(
    "run",
    [
        {"actual": 9, "Plan Rows": 1},  # Nine times, and of few rows.
        {"actual": 900, "Plan Rows": 100},
        {"actual": 200, "Plan Rows": 200, "Rows Removed by Filter": 1_800},  # 90 % exactly.
        {"actual": 1_000, "Plan Rows": 1_000, "Heap Fetches": 400},
        {"Sort Space Type": "Memory", "Hash Batches": 1, "Lossy Heap Blocks": 0},
    ],
)
def test_what_is_within_the_bounds_is_not_told(run: dict[str, Any]) -> None:
    assert checks(scan("Index Scan", loops=1, **run)) == []


@each_case(("compiling", "found"), [(20.1, [("plan.jit", "info")]), (20.0, [])])
def test_compiling_is_told_where_it_takes_a_fifth(compiling: float, found: list[tuple[str, str]]) -> None:
    timing = {"JIT": {"Timing": {"Total": compiling}}, "Execution Time": 100.0}
    assert checks(scan("Index Scan", loops=1), **timing) == found


class TestShownSteps:
    def test_no_value_is_shown_and_the_costliest_step_is_marked(self) -> None:
        top = node(
            "Limit",
            node(
                "Sort", scan(**{"Total Cost": 70.0}), **{"Sort Key": ["(b || 'hunter2')"], "Total Cost": 99.0}
            ),
        )
        steps = shown_steps(plan_of({"Plan": top}))
        assert "hunter2" not in repr(steps)
        assert [(it.number, it.parent, it.depth, it.is_costliest, it.cost_percent) for it in steps] == [
            (1, None, 0, False, 1.0),
            (2, 1, 1, False, 29.0),
            (3, 2, 2, True, 70.0),
        ]
        assert dict(steps[2].details) == {"Filter": "(a = ?::text)"}
        assert dict(steps[1].details) == {"Sort Key": "(b || ?)"}

    @each_case(
        ("step", "kind"),
        [
            (node("Hash Join", **{"Join Type": "Left"}), "Hash Left Join"),
            (node("Nested Loop", **{"Join Type": "Anti"}), "Nested Loop Anti Join"),
            (node("Hash Join", **{"Join Type": "Inner"}), "Hash Join"),
            (node("ModifyTable", Operation="Update"), "Update"),
            (node("Aggregate", Strategy="Hashed"), "HashAggregate"),
            (scan(**{"Parallel Aware": True}), "Parallel Seq Scan"),
        ],
    )
    def test_steps_are_named_as_in_the_text_form(self, step: dict[str, Any], kind: str) -> None:
        assert shown_steps(plan_of({"Plan": step}))[0].kind == kind


class TestPlanOf:
    def test_a_plan_that_nobody_could_read_is_refused(self) -> None:
        deep = node("Result")
        for _ in range(251):
            deep = node("Result", deep)
        for top in (deep, node("Append", *[node("Result")] * 2_000)):
            with pytest.raises(StatementRefused, match="2,000 steps, or 250 levels"):
                plan_of({"Plan": top})
