"""The score as a table, and as numbers for other programs."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from bench.advice._score import Graded, Score, score
from bench.advice._verify import Verdict


def kinds(graded: Iterable[Graded]) -> dict[str, list[Graded]]:
    """By what kind of statement it is, as they first appear."""
    found: dict[str, list[Graded]] = {}
    for one in graded:
        found.setdefault(one.case.kind, []).append(one)
    return found


def table(graded: Sequence[Graded]) -> list[str]:
    """A line for each kind, then one for all."""
    lines = [f"{'kind':<28}{'right':>12}{'precision':>11}{'recall':>9}{'left alone':>12}{'refused':>9}"]
    rows = [(kind, score(some)) for kind, some in kinds(graded).items()]
    return [*lines, *(_row(kind, of) for kind, of in [*rows, ("all", score(graded))])]


def _row(name: str, of: Score) -> str:
    shares = (of.precision, of.recall, of.left_alone, of.refused)
    cells = ["" if one is None else f"{one:.3f}" for one in shares]
    right = f"{of.right} of {of.statements}"
    return f"{name:<28}{right:>12}{cells[0]:>11}{cells[1]:>9}{cells[2]:>12}{cells[3]:>9}".rstrip()


def misses(graded: Iterable[Graded]) -> list[str]:
    """Each answer that is not right, with its statement."""
    lines = []
    for one in graded:
        if not one.is_right:
            lines += [f"{one.case.kind}: {one.case.name}", f"    {one.case.sql}", f"    {one.why}"]
    return lines


def times(graded: Sequence[Graded]) -> str:
    """How long the answers took."""
    taken = sorted(one.said.ms for one in graded)
    return f"an answer took {statistics.median(taken):.1f} ms in the median and {taken[-1]:.1f} ms at most"


def as_numbers(graded: Sequence[Graded], facts: dict[str, Any]) -> dict[str, Any]:
    """All of it, for JSON."""
    return facts | {
        "all": asdict(score(graded)),
        "kinds": {kind: asdict(score(some)) for kind, some in kinds(graded).items()},
        "misses": [
            {"kind": one.case.kind, "name": one.case.name, "why": one.why}
            for one in graded
            if not one.is_right
        ],
    }


def verdict_lines(verdict: Verdict) -> list[str]:
    """What was measured of one case."""
    head = f"{verdict.case.kind}: {verdict.case.name}  ({verdict.without.ms:.3f} ms, {verdict.without.blocks} blocks)"
    return [
        head,
        *(f"    {line}" for line in verdict.lines),
        *(f"    WRONG: {line}" for line in verdict.wrong),
    ]
