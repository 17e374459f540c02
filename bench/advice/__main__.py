"""How good is the index advice? Precision and recall, and how often it keeps still where it should."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import uvloop

from app.core.db import Database
from app.core.monitor import MonitorServer
from app.dev import EmbeddedPostgres
from bench.advice._adviser import Adviser, NoAdviser, perfect, silence, the_adviser
from bench.advice._case import Case
from bench.advice._cases import cases
from bench.advice._report import as_numbers, misses, table, times, verdict_lines
from bench.advice._score import Aims, Graded, grade, score
from bench.advice._servers import EMPTY, FILLED, HypopgIsMissing, connected, prepare, running_server
from bench.advice._shape import Shapes
from bench.advice._unchanged import fingerprint
from bench.advice._verify import verify


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.advice", description=(__doc__ or "").strip())
    parser.add_argument(
        "--hypopg",
        action="store_true",
        help="on Debian's PostgreSQL 15 with hypopg instead of the embedded 18",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="WORDS",
        help="only kinds and statements with these words in their names",
    )
    parser.add_argument(
        "--held-out", action="store_true", help="the second set, which no adviser was tuned to"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check the answers themselves: make each index and measure (minutes)",
    )
    parser.add_argument("--adviser", choices=("ours", "silence", "perfect"), default="ours")
    parser.add_argument("--json", action="store_true", help="print numbers for other programs")
    for name in Aims().names:
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=float, metavar="LEAST", help="exit with 1 below this"
        )
    return parser.parse_args()


async def examine(server: EmbeddedPostgres, chosen: Sequence[Case], who: str) -> list[Graded]:
    """Put each statement to the adviser. Raises NoAdviser, and RuntimeError when a question has changed the database."""
    database = Database(server.url(FILLED), pool_size=2)
    monitor = MonitorServer(database)
    try:
        async with connected(server, EMPTY) as empty, connected(server, FILLED) as filled:
            shapes = Shapes(empty)
            before = await fingerprint(filled)
            graded = await _ask_all(_adviser(who, monitor, shapes), shapes, chosen)
            if await fingerprint(filled) != before:
                raise RuntimeError("the questions have changed the database")
            return graded
    finally:
        await monitor.close()
        await database.close()


async def _ask_all(adviser: Adviser, shapes: Shapes, chosen: Sequence[Case]) -> list[Graded]:
    graded = []
    for case in chosen:
        accepted = [await shapes.all_of(one) for one in case.accepted]
        graded.append(grade(case, accepted, await adviser(case)))
    return graded


def _adviser(who: str, monitor: MonitorServer, shapes: Shapes) -> Adviser:
    if who == "silence":
        return silence()
    return perfect(shapes) if who == "perfect" else the_adviser(monitor, shapes)


async def run(server: EmbeddedPostgres, options: argparse.Namespace) -> bool:
    """Prepare, ask, print; whether all is as it should be."""
    seconds = await prepare(server, with_hypopg=options.hypopg)
    async with connected(server, FILLED) as connection:
        facts = await _facts(connection) | {"seconds_to_fill": round(seconds, 1), "hypopg": options.hypopg}
    chosen = cases(facts["version"], held_out=options.held_out, words=options.only or ())
    if not options.json:
        print(
            f"PostgreSQL {facts['version_name']}, {facts['rows']:,} rows in {seconds:.0f} s, {len(chosen)} statements\n"
        )
    if options.verify:
        return await _verify(server, chosen)
    graded = await examine(server, chosen, options.adviser)
    reached = score(graded)
    missed = Aims(**{name: getattr(options, name) for name in Aims().names}).missed(reached)
    if options.json:
        print(json.dumps(as_numbers(graded, facts | {"below_aims": missed}), indent=2))
    else:
        print("\n".join([*misses(graded), "", *table(graded), "", times(graded), *missed]))
    return not missed


async def _facts(connection: Any) -> dict[str, Any]:
    return {
        "version": int(await connection.fetchval("SHOW server_version_num")),
        "version_name": await connection.fetchval("SHOW server_version"),
        "rows": await connection.fetchval(
            "SELECT sum(reltuples)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind = 'r' AND nspname IN ('public', 'billing')"
        ),
    }


async def _verify(server: EmbeddedPostgres, chosen: Sequence[Case]) -> bool:
    wrong = 0
    async with connected(server, FILLED) as connection:
        async for verdict in verify(connection, [case for case in chosen if not case.is_refused]):
            wrong += bool(verdict.wrong)
            print("\n".join(verdict_lines(verdict)), flush=True)
    print(f"\n{wrong} with an answer that does not hold")
    return not wrong


def main() -> int:
    """The exit code: 1 below an aim or with a wrong answer in the files, 2 where the server or the adviser is missing."""
    options = arguments()
    try:
        with running_server(with_hypopg=options.hypopg) as server:
            return 0 if uvloop.run(run(server, options)) else 1
    except (HypopgIsMissing, NoAdviser) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
