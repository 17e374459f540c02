"""What gates cost: requests per CPU second of gated routes against the same bare FastAPI route, in one run; and their round trips."""

import argparse
import asyncio
import contextlib
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
from valkey import Valkey

from app.builtin.credits.service import grant
from app.core.db import Database, get_db_context, upgrade
from bench.apps import token_service
from bench.load import Measurement, Server, server
from bench.machine import description, keep
from bench.stores import running_stores

CONNECTIONS = 32
ACCOUNT = "bench"
SAME, OTHER = "/records/7", "/records/{n}"


class Row(NamedTuple):
    """One line of the table: an application, and the path that is asked for."""

    app: str
    path: str
    about: str


ROWS = {
    "bare": Row("bare", SAME, "FastAPI's route"),
    "included": Row("included", SAME, "the same on an included router"),
    "gated": Row("gated", SAME, "token, scope, user and IP limit, metrics, access log"),
    "everything": Row("everything", OTHER, "and quota, credits, slot; cache asked, missed and filled"),
    "hit": Row("everything", SAME, "the same, answered from the cache"),
    "separate": Row("separate", SAME, "the policies of 'gated' as dependencies, a plain call each"),
}


class Ratio(NamedTuple):
    """Requests per CPU second of ``over`` per one of ``under``."""

    over: str
    under: str
    floor: float | None = None
    aim: float | None = None


# The second and third are reached without a margin, on a machine that does nothing else: docs/adr/0011.
RATIOS = (
    Ratio("gated", "bare", 0.50, 0.65),
    Ratio("everything", "bare", 0.40, 0.55),
    Ratio("hit", "bare", 1.0, 1.5),
    Ratio("gated", "separate", 2.0, 3.5),
    Ratio("gated", "included"),
    Ratio("everything", "included"),
    Ratio("hit", "included"),
)


async def measure(servers: dict[str, Server], rounds: int, requests: int) -> dict[str, list[Measurement]]:
    """Every row in turn, ``rounds`` times, there and back; a round before them warms up."""
    results: dict[str, list[Measurement]] = {name: [] for name in ROWS}
    for number in range(rounds + 1):
        for name in list(ROWS)[:: 1 if number % 2 else -1]:
            taken = await _load(servers, name, requests)
            if number:
                results[name].append(taken)
    return results


async def _load(servers: dict[str, Server], name: str, requests: int) -> Measurement:
    headers = {"authorization": f"Bearer {token_service().issue(ACCOUNT, scopes=['read:records']).token}"}
    row = ROWS[name]
    return await servers[row.app].load(row.path, headers, connections=CONNECTIONS, requests=requests)


def trips(url: str, runner: asyncio.Runner, servers: dict[str, Server], requests: int) -> dict[str, Any]:
    """Calls to Valkey for each request of a row, and the time that a script takes in the server."""
    found = {}
    with contextlib.closing(Valkey.from_url(url)) as client:
        for name in ("gated", "everything", "hit"):
            before = _script_calls(client)
            answered = runner.run(_load(servers, name, requests)).requests
            calls, usec = (b - a for a, b in zip(before, _script_calls(client), strict=True))
            found[name] = {"calls_per_request": calls / answered, "usec_per_call": usec / calls}
    return found


def _script_calls(client: Valkey) -> tuple[int, int]:
    stats: Any = client.info("commandstats")
    found = stats.get("cmdstat_evalsha", {"calls": 0, "usec": 0})
    return found["calls"], found["usec"]


@contextlib.contextmanager
def paying_stores(folder: Path) -> Iterator[str]:
    """PostgreSQL with an account that can pay, and Valkey; the servers under test find both. Gives Valkey's URL."""
    with running_stores(folder) as stores:
        os.environ["BENCH_DATABASE_URL"], os.environ["BENCH_VALKEY_URL"] = stores
        asyncio.run(_make_account(stores.postgres))
        yield stores.valkey


async def _make_account(url: str) -> None:
    await upgrade(url)
    database = Database(url, pool_size=1)
    async with get_db_context(database) as session:
        await grant(session, ACCOUNT, 1_000_000_000)
    await database.close()


def report(results: dict[str, list[Measurement]], calls: dict[str, Any]) -> dict[str, Any]:
    """Print the table; the same as numbers."""
    cpu = {name: statistics.median(m.cpu_us for m in taken) for name, taken in results.items()}
    print(f"{'':<12}{'CPU us/request':>16}")
    for name, value in cpu.items():
        print(f"{name:<12}{value:>16.1f}  {ROWS[name].about}")
    print(f"\n{'requests per CPU second':<24}{'ratio':>8}{'floor':>8}{'aim':>8}")
    ratios = []
    for over, under, floor, aim in RATIOS:
        ratio = cpu[under] / cpu[over]
        print(
            f"{f'{over} / {under}':<24}{ratio:>8.2f}{_number(floor)}{_number(aim)}  {_verdict(ratio, floor, aim)}"
        )
        ratios.append({"over": over, "under": under, "ratio": round(ratio, 3), "floor": floor, "aim": aim})
    print(f"\n{'Valkey':<12}{'calls/request':>16}{'us/call there':>16}")
    for name, numbers in calls.items():
        print(f"{name:<12}{numbers['calls_per_request']:>16.4f}{numbers['usec_per_call']:>16.1f}")
    return {"cpu_us": cpu, "ratios": ratios, "valkey": calls}


def _number(value: float | None) -> str:
    return f"{'' if value is None else format(value, '.2f'):>8}"


def _verdict(ratio: float, floor: float | None, aim: float | None) -> str:
    if floor is None or aim is None:
        return ""
    return "BELOW THE FLOOR" if ratio < floor else "aim reached" if ratio >= aim else "between"


def run(rounds: int, requests: int) -> dict[str, Any]:
    """Start the servers, load them in turn, print the table and return its numbers."""
    folder = tempfile.TemporaryDirectory(prefix="gatehouse-bench-")
    with folder as name, paying_stores(Path(name)) as url, contextlib.ExitStack() as stack:
        apps = dict.fromkeys(row.app for row in ROWS.values())
        servers = {app: stack.enter_context(server(f"bench.apps:{app}")) for app in apps}
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(measure(servers, rounds, requests))
            calls = trips(url, runner, servers, requests)
        return report(results, calls)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--no-results", action="store_true", help="print the table only")
    arguments = parser.parse_args()
    machine = description()
    measured = run(arguments.rounds, arguments.requests)
    if not arguments.no_results:
        keep("gate", {"rounds": arguments.rounds, "requests": arguments.requests} | measured, machine)
