"""What the data layer costs, as ratios within one run: repositories, many rows, pages by cursor, the query cache.

Exits with 1 when a promise is not kept.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from app.core.db import Database
from bench import bulk, keyset, query_cache, repositories
from bench.bounds import Bound, Judged, judge
from bench.machine import description, keep
from bench.people import make_table
from bench.stores import Stores, running_stores
from bench.turns import Cost, Rounds, median

Trips = Mapping[str, Mapping[str, float]]
SECTIONS: dict[str, tuple[Bound, ...]] = {
    "one operation: a repository, by hand in the same session, and by hand without anything of ours": repositories.BOUNDS,
    f"{bulk.BULK:,} rows in one transaction ({bulk.SAMPLE:,} row by row), for one row": bulk.BOUNDS,
    f"a page of {keyset.LIMIT} rows": keyset.BOUNDS,
    f"the query cache: a list of {query_cache.LIMIT} rows": query_cache.BOUNDS,
}


async def measure(stores: Stores, rounds: int) -> tuple[list[Rounds], Trips]:
    """What each section's ways cost, and the query cache's round trips."""
    database = Database(stores.postgres, pool_size=2)
    try:
        await make_table(database)
        single = await repositories.measure(database, rounds * 5)
        many = await bulk.measure(database, rounds)
        pages = await keyset.measure(database, rounds)
        cached, trips = await query_cache.measure(database, stores.valkey, rounds * 3)
    finally:
        await database.close()
    return [single, many, pages, cached], trips


def report(sections: Sequence[Rounds], trips: Trips) -> tuple[dict[str, Any], bool]:
    """Print the tables; the same as numbers, and whether all promises are kept."""
    numbers: dict[str, Any] = {"costs_us": {}, "ratios": []}
    is_kept = True
    for (title, bounds), rounds in zip(SECTIONS.items(), sections, strict=True):
        costs = {name: median(taken) for name, taken in rounds.items()}
        judged = judge(bounds, rounds)
        print("\n".join([*cost_lines(title, costs), *ratio_lines(judged)]) + "\n")
        numbers["costs_us"] |= {name: _rounded(cost) for name, cost in costs.items()}
        numbers["ratios"] += [_as_json(one) for one in judged]
        is_kept = is_kept and not any(one.is_broken for one in judged)
    numbers["rows_per_second"] = {
        name: bulk.rows_per_second(median(taken)) for name, taken in sections[1].items()
    }
    print(f"{'rows per second':<34}" + "  ".join(f"{k} {v:,}" for k, v in numbers["rows_per_second"].items()))
    print("\n".join(["", *trip_lines(trips)]))
    return numbers | {"round_trips": trips}, is_kept


def cost_lines(title: str, costs: Mapping[str, Cost]) -> list[str]:
    """A table of medians."""
    lines = [title, f"{'':<34}{'CPU us':>12}{'clock us':>12}"]
    return lines + [f"{name:<34}{cost.cpu:>12,.1f}{cost.wall:>12,.1f}" for name, cost in costs.items()]


def ratio_lines(judged: Sequence[Judged]) -> list[str]:
    """A table of ratios with what is promised of them."""
    lines = [f"{'ratio':<58}{'of':>6}{'is':>8}{'least':>8}{'most':>8}"]
    for (over, under, measure, least, most), ratio in judged:
        promised = f"{_number(least)}{_number(most)}"
        verdict = Judged(Bound(over, under, measure, least, most), ratio).verdict
        lines.append(f"{f'{over} / {under}':<58}{measure:>6}{ratio:>8.2f}{promised}  {verdict}".rstrip())
    return lines


def trip_lines(trips: Trips) -> list[str]:
    """How often one call goes to each server and back."""
    lines = [f"{'round trips of one call':<34}{'PostgreSQL':>12}{'Valkey':>12}"]
    return lines + [f"{name:<34}{t['postgres']:>12.2f}{t['valkey']:>12.2f}" for name, t in trips.items()]


def _number(value: float | None) -> str:
    return f"{'' if value is None else format(value, '.2f'):>8}"


def _rounded(cost: Cost) -> dict[str, float]:
    return {"cpu": round(cost.cpu, 2), "wall": round(cost.wall, 2)}


def _as_json(judged: Judged) -> dict[str, Any]:
    return judged.bound._asdict() | {"ratio": round(judged.ratio, 3)}


def run(rounds: int) -> tuple[dict[str, Any], bool]:
    """Start the servers, measure, print; the numbers, and whether all promises are kept."""
    with (
        tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder,
        running_stores(Path(folder)) as stores,
    ):
        return report(*uvloop.run(measure(stores, rounds)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-results", action="store_true", help="print the tables only")
    arguments = parser.parse_args()
    machine = description()
    measured, kept_all = run(arguments.rounds)
    if not arguments.no_results:
        keep("data", {"rounds": arguments.rounds} | measured, machine)
    sys.exit(0 if kept_all else 1)
