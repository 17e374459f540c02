"""What it costs to carry a message, in one run: ``python -m bench.jobs [--messages 5000] [--rounds 5] [--json]``.

"bare loop" is the floor that a worker is measured against: plain valkey-py, a batch of 64 read from one stream, then the result of each
message as a hash and one XACK and XDEL for all, in one pipeline. No retries, no delays, no priorities, no other reader's messages.
"broker" is ValkeyBroker with the same batches, and the same result hashes where it says so. Ways take turns, there and back, on one Valkey
over TCP, and the medians count: compare the ratios, absolute numbers mean nothing on a shared machine.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple
from uuid import uuid4

import structlog
import uvloop
import valkey.asyncio

from app.core.jobs import Parcel, ValkeyBroker
from app.core.valkey import StoreError, ValkeyClient
from bench.machine import description, keep
from bench.turns import Cost, median, ratio
from bench.valkey_client import running_server

BATCH = 64
PUBLISHED = 500
BARE, BROKER, BROKER_HASHES = "bare loop", "broker", "broker, with result hashes"
QUEUE = "bench"


class Way(NamedTuple):
    """Puts messages into a queue, and takes them all out again; each is told or says how many."""

    publish: Callable[[list[bytes]], Awaitable[None]]
    drain: Callable[[], Awaitable[int]]


@contextlib.asynccontextmanager
async def bare(url: str) -> AsyncIterator[Way]:
    """Plain valkey-py."""
    client: Any = valkey.asyncio.Valkey.from_url(url, socket_timeout=None)
    await client.xgroup_create("bare", "g", "0", mkstream=True)

    async def publish(bodies: list[bytes]) -> None:
        for at in range(0, len(bodies), PUBLISHED):
            pipe = client.pipeline(transaction=False)
            for body in bodies[at : at + PUBLISHED]:
                pipe.xadd("bare", {"b": body})
            await pipe.execute()

    async def drain() -> int:
        done = 0
        while found := await client.xreadgroup("g", "c", {"bare": ">"}, count=BATCH):
            entries = found[0][1]
            pipe = client.pipeline(transaction=False)
            for _, fields in entries:
                pipe.hset(b"result:" + fields[b"b"], mapping={"status": "done", "result": b"1"})
            ids = [entry[0] for entry in entries]
            pipe.xack("bare", "g", *ids)
            pipe.xdel("bare", *ids)
            await pipe.execute()
            done += len(entries)
        return done

    yield Way(publish, drain)
    await client.aclose()


@contextlib.asynccontextmanager
async def ours(url: str, *, hashes: bool) -> AsyncIterator[Way]:
    """The broker on the platform's client."""
    store = ValkeyClient(url, timeout_s=5.0)
    broker = ValkeyBroker(store, prefix=f"bench-{hashes}", timeout_s=30.0)

    async def publish(bodies: list[bytes]) -> None:
        for at in range(0, len(bodies), PUBLISHED):
            await broker.publish([Parcel(QUEUE, body) for body in bodies[at : at + PUBLISHED]])

    async def drain() -> int:
        done = 0
        while messages := await broker.read(QUEUE, BATCH, 0.0):
            calls = [
                store.execute("HSET", b"result:" + one.body, "status", "done", "result", b"1")
                for one in (messages if hashes else ())
            ]
            await asyncio.gather(*calls, broker.ack(messages))
            done += len(messages)
        return done

    yield Way(publish, drain)
    await broker.close()
    await store.close()


WAYS: dict[str, Callable[[str], contextlib.AbstractAsyncContextManager[Way]]] = {
    BARE: bare,
    BROKER: lambda url: ours(url, hashes=False),
    BROKER_HASHES: lambda url: ours(url, hashes=True),
}


async def _cost(work: Awaitable[int | None], messages: int) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    done = await work
    if done not in {None, messages}:
        raise RuntimeError(f"{done} messages came of {messages}")
    return Cost(1e6 * (time.process_time() - cpu) / messages, 1e6 * (time.perf_counter() - wall) / messages)


async def compare(url: str, messages: int, rounds: int) -> dict[str, dict[str, list[Cost]]]:
    """For publishing and for draining, what one message cost each way in each round; a round before them warms up."""
    costs: dict[str, dict[str, list[Cost]]] = {
        act: {name: [] for name in WAYS} for act in ("publish", "drain")
    }
    store = ValkeyClient(url, timeout_s=5.0)
    async with contextlib.AsyncExitStack() as stack:
        await _until_ready(store)
        stack.push_async_callback(store.close)
        ways = {name: await stack.enter_async_context(make(url)) for name, make in WAYS.items()}
        for number in range(rounds + 1):
            for name in list(ways)[:: 1 if number % 2 else -1]:
                bodies = [uuid4().bytes for _ in range(messages)]
                published = await _cost(ways[name].publish(bodies), messages)
                drained = await _cost(ways[name].drain(), messages)
                for at in range(0, messages, PUBLISHED):
                    await store.execute(
                        "UNLINK", *(b"result:" + body for body in bodies[at : at + PUBLISHED])
                    )
                if number:
                    costs["publish"][name].append(published)
                    costs["drain"][name].append(drained)
    return costs


async def _until_ready(store: ValkeyClient) -> None:
    for _ in range(200):
        with contextlib.suppress(StoreError):
            await store.ping()
            return
        await asyncio.sleep(0.02)
    raise TimeoutError("the server does not answer")


def numbers(costs: dict[str, dict[str, list[Cost]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Per act and way: messages a second, microseconds of this process's CPU for each, and how both stand to the bare loop."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for act, rounds in costs.items():
        found[act] = {}
        for name in rounds:
            middle = median(rounds[name])
            found[act][name] = {
                "messages_per_s": round(1e6 / middle.wall),
                "cpu_us": round(middle.cpu, 2),
                "throughput_to_bare": round(ratio(rounds, BARE, name, "wall"), 2),
                "cpu_to_bare": round(ratio(rounds, name, BARE, "cpu"), 2),
            }
    return found


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """For people."""
    lines = [f"{'':38}{'messages/s':>12}{'CPU us':>9}{'x bare/s':>10}{'x CPU':>8}"]
    for act, ways in found.items():
        for name, row in ways.items():
            rate, cpu, speed, price = row.values()
            lines.append(f"{act:9}{name:29}{rate:>12,.0f}{cpu:>9.1f}{speed:>9.2f}x{price:>7.2f}x")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=5000, help="of one turn (default 5000)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-results", action="store_true", help="print only")
    options = parser.parse_args()
    machine = description()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with running_server() as url:
        found = numbers(uvloop.run(compare(url, options.messages, options.rounds)))
    sys.stdout.write((json.dumps(found, indent=2) if options.json else table(found)) + "\n")
    if not options.no_results:
        keep("jobs", {"messages": options.messages, "rounds": options.rounds} | found, machine)


if __name__ == "__main__":
    main()
