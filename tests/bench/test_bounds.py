"""What is promised of a ratio, and what is told of it."""

import pytest

from bench import bulk, keyset, query_cache, repositories
from bench.bounds import Bound, Judged, judge
from bench.data import report
from bench.turns import Cost, Rounds
from tests.cases import each_case

SECTIONS = (repositories.BOUNDS, bulk.BOUNDS, keyset.BOUNDS, query_cache.BOUNDS)
TRIPS = {"objects: hit": {"postgres": 0.0, "valkey": 1.0}}


@each_case(
    ("least", "most", "ratio", "verdict"),
    [
        (10.0, None, 9.99, "BELOW THE FLOOR"),
        (10.0, None, 10.0, "holds"),
        (None, 1.15, 1.15, "holds"),
        (None, 1.15, 1.16, "ABOVE THE LIMIT"),
        (0.8, 1.2, 0.7, "BELOW THE FLOOR"),
        (0.8, 1.2, 1.3, "ABOVE THE LIMIT"),
        (None, None, 99.0, ""),
    ],
)
def test_a_promise_holds_or_is_told_to_be_broken(
    least: float | None, most: float | None, ratio: float, verdict: str
) -> None:
    judged = Judged(Bound("a", "b", "cpu", least, most), ratio)
    assert (judged.verdict, judged.is_broken) == (verdict, verdict.isupper())


def test_each_bound_is_judged_by_its_own_clock() -> None:
    rounds = {"a": [Cost(2, 30)], "b": [Cost(1, 10)]}
    judged = judge((Bound("a", "b", "cpu"), Bound("a", "b", "wall")), rounds)
    assert [one.ratio for one in judged] == [2, 3]


@each_case(
    ("bounds", "promise"),
    [
        (repositories.BOUNDS, Bound("get: repository", "get: by hand", "cpu", most=1.15)),
        (repositories.BOUNDS, Bound("list: repository", "list: by hand", "cpu", most=1.15)),
        (repositories.BOUNDS, Bound("create: repository", "create: by hand", "cpu", most=1.15)),
        (bulk.BOUNDS, Bound("row by row", "bulk_create", "wall", least=10.0)),
        (keyset.BOUNDS, Bound("page 10,000", "page 1", "wall", least=0.8, most=1.2)),
    ],
)
def test_what_was_asked_for_is_promised(bounds: tuple[Bound, ...], promise: Bound) -> None:
    assert promise in bounds


def costing(row_by_row: float) -> list[Rounds]:
    """What each section may have measured: every way costs the same, but row by row so many times as much."""
    sections: list[dict[str, list[Cost]]] = [
        {name: [Cost(100.0, 100.0)] for bound in bounds for name in bound[:2]} for bounds in SECTIONS
    ]
    sections[1]["row by row"] = [Cost(100.0 * row_by_row, 100.0 * row_by_row)]
    return list(sections)


def test_a_report_says_whether_all_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    numbers, is_kept = report(costing(12), TRIPS)
    assert is_kept
    assert not any(verdict in capsys.readouterr().out for verdict in ("BELOW THE FLOOR", "ABOVE THE LIMIT"))
    assert numbers["rows_per_second"]["bulk_create"] == 10_000
    assert numbers["round_trips"] == TRIPS
    promise = Bound("row by row", "bulk_create", "wall", least=10.0)
    assert promise._asdict() | {"ratio": 12.0} in numbers["ratios"]


def test_a_report_names_the_broken_promise(capsys: pytest.CaptureFixture[str]) -> None:
    _, is_kept = report(costing(9.5), TRIPS)
    lines = [line for line in capsys.readouterr().out.splitlines() if "BELOW THE FLOOR" in line]
    assert not is_kept
    assert [line.split("  ")[0] for line in lines] == ["row by row / bulk_create", "row by row / bulk_insert"]
