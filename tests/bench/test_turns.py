"""Turns and ratios: what the benchmark's numbers are made of."""

import time

import pytest

from bench.turns import Cost, Measure, cost, in_turns, median, ratio

ROUNDS = {
    "one": [Cost(1, 30), Cost(2, 20), Cost(9, 90)],
    "other": [Cost(2, 10), Cost(2, 20), Cost(3, 90)],
}


async def test_ways_take_turns_there_and_back_and_the_first_round_does_not_count() -> None:
    done: list[tuple[str, int]] = []

    async def a(number: int) -> None:
        done.append(("a", number))

    async def b(number: int) -> None:
        done.append(("b", number))

    taken = await in_turns({"a": a, "b": b}, rounds=2, operations=2)
    assert done == [
        ("b", 0), ("b", 1), ("a", 0), ("a", 1),
        ("a", 2), ("a", 3), ("b", 2), ("b", 3),
        ("b", 4), ("b", 5), ("a", 4), ("a", 5),
    ]  # fmt: skip
    assert {name: len(rounds) for name, rounds in taken.items()} == {"a": 2, "b": 2}


async def test_a_cost_is_that_of_one_operation_in_microseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, wall = iter((1.0, 1.5)), iter((7.0, 9.0))
    monkeypatch.setattr(time, "process_time", lambda: next(cpu))
    monkeypatch.setattr(time, "perf_counter", lambda: next(wall))

    async def nothing(_: int) -> None: ...

    assert await cost(nothing, 4) == Cost(cpu=125_000, wall=500_000)


@pytest.mark.parametrize(("measure", "expected"), [("cpu", 1.0), ("wall", 1.0)])
def test_a_ratio_is_the_median_of_neighbours(measure: Measure, expected: float) -> None:
    assert ratio(ROUNDS, "one", "other", measure) == expected


def test_a_machine_that_becomes_slower_changes_no_ratio() -> None:
    steady = {"one": [Cost(3, 3)] * 3, "other": [Cost(2, 2)] * 3}
    slower = {
        name: [Cost(c.cpu * s, c.wall * s) for c, s in zip(taken, (1, 2, 9), strict=True)]
        for name, taken in steady.items()
    }
    assert ratio(slower, "one", "other", "cpu") == ratio(steady, "one", "other", "cpu") == 1.5


def test_ways_with_different_rounds_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio({"one": ROUNDS["one"], "other": ROUNDS["other"][:2]}, "one", "other", "cpu")


def test_a_median_is_that_of_each_clock() -> None:
    assert median(ROUNDS["one"]) == Cost(2, 30)
