"""What a gate costs: requests per CPU second of the gated route against the bare one, in one run."""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

import uvloop
from valkey import Valkey

from app.dev import EmbeddedValkey, server_account
from bench.apps import token_service
from bench.load import Measurement, Server, server

FLOORS = {"gated / bare": 0.50, "gated / separate dependencies": 2.0}
NAMES = ("bare", "included", "gated", "separate")
CONNECTIONS = 32


async def measure(servers: dict[str, Server], rounds: int, requests: int) -> dict[str, list[Measurement]]:
    headers = {"authorization": f"Bearer {token_service().issue('bench', scopes=['read:records']).token}"}
    results: dict[str, list[Measurement]] = {name: [] for name in servers}
    for number in range(rounds + 1):
        order = list(servers) if number % 2 else list(reversed(servers))
        for name in order:
            taken = await servers[name].load(
                "/records/7", headers, connections=CONNECTIONS, requests=requests
            )
            if number:  # the first round warms up
                results[name].append(taken)
    return results


def verdict(name: str, ratio: float) -> str:
    floor = FLOORS.get(name)
    return "" if floor is None else f"{floor:>8.2f}{'' if ratio >= floor else '  BELOW'}"


def report(results: dict[str, list[Measurement]], calls: dict[str, float]) -> dict[str, Any]:
    cpu = {name: statistics.median(m.cpu_us for m in taken) for name, taken in results.items()}
    ratios = {
        "gated / bare": cpu["bare"] / cpu["gated"],
        "gated / bare, included router": cpu["included"] / cpu["gated"],
        "gated / separate dependencies": cpu["separate"] / cpu["gated"],
    }
    print(f"{'application':<30}{'CPU us/request':>16}")
    for name, value in cpu.items():
        print(f"{name:<30}{value:>16.1f}")
    print(f"\n{'requests per CPU second':<34}{'ratio':>8}{'floor':>8}")
    for name, ratio in ratios.items():
        print(f"{name:<34}{ratio:>8.2f}{verdict(name, ratio)}")
    print(
        f"\nValkey: {calls['per_request']:.4f} script calls per gated request, {calls['usec_per_call']:.1f} us each in the server"
    )
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    return {"cpu_us": cpu, "ratios": ratios, "floors": FLOORS, "valkey": calls, "machine": machine}


def script_calls(url: str) -> tuple[int, int]:
    with contextlib.closing(Valkey.from_url(url)) as client:
        stats: Any = client.info("commandstats")
    found = stats.get("cmdstat_evalsha", {"calls": 0, "usec": 0})
    return found["calls"], found["usec"]


def run(rounds: int, requests: int) -> dict[str, Any]:
    """Start the servers, load them in turn, print the table and return its numbers."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder, contextlib.ExitStack() as stack:
        server_account().own(Path(folder))
        valkey = EmbeddedValkey(Path(folder) / "valkey", durable=False)
        valkey.start()
        stack.callback(valkey.kill)
        os.environ["BENCH_VALKEY_URL"] = valkey.url(0)
        servers = {name: stack.enter_context(server(f"bench.apps:{name}")) for name in NAMES}
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(measure(servers, rounds, requests))
            before = script_calls(valkey.url(0))
            alone = runner.run(measure({"gated": servers["gated"]}, 1, requests))
            after = script_calls(valkey.url(0))
        asked = 2 * alone["gated"][0].requests
        calls, usec = after[0] - before[0], after[1] - before[1]
        return report(results, {"per_request": calls / asked, "usec_per_call": usec / calls})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--output", type=Path, help="write the numbers here as JSON")
    arguments = parser.parse_args()
    numbers = run(arguments.rounds, arguments.requests)
    if arguments.output:
        arguments.output.write_text(json.dumps(numbers, indent=2) + "\n")
