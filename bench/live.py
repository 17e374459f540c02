"""Whether probes are still answered while jobs use all of the processor: ``python -m bench.live [--rounds 5] [--seconds 6]``.

One process of the API, one worker with as many processes as the machine has cores. ``GET /live`` is asked 100 times a second, first with
nothing else to do, then while every process of the pool calculates, and so on in turns. Requests are sent when they are due, not when the
one before was answered, so a pause shows in all that were due in it. What counts is the ratio of the 99th percentiles within one run.
Who asks stands for another machine: where it may (as root), it does not wait for the processor behind the jobs (``asker_waits``).
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import httpx2
import uvloop
from uuid_utils.compat import uuid7

from app.core.db import upgrade
from app.dev import EmbeddedPostgres, EmbeddedValkey, server_account
from bench.load import server
from bench.machine import description, keep
from bench.monitor import percentile

LIMIT = 2.0
PER_S = 100
CORES = os.cpu_count() or 1
_SUBMITTER = json.dumps({"id": "bench", "scopes": ["run:cpu_job"], "roles": ["cpu_user"], "tenant_id": None})
_ADD = """
INSERT INTO jobs (id, name, queue, priority, arguments, submitter, owner, max_attempts, publish_at)
SELECT unnest(CAST($1 AS uuid[])), 'heavy_calc', 'cpu', 'normal', '{"what": "pi", "size": 1000000000}', CAST($2 AS jsonb), 'bench', 1, now()
"""
_RUNNING = "SELECT count(*) FROM jobs WHERE status = 'running'"
_END = "UPDATE jobs SET cancel_requested_at = now() WHERE status = 'running'"
_FORGET = "DELETE FROM jobs WHERE status = 'queued'"


def ahead_of_others() -> bool:
    """Have this process run whenever it can; whether that was allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    return True


async def steady(client: httpx2.AsyncClient, seconds: float) -> list[float]:
    """Milliseconds that each answer took, from the moment at which its request was due."""
    begun = time.perf_counter() + 0.1  # the loop's own time is in whole milliseconds

    async def ask(due: float) -> float:
        await asyncio.sleep(due - time.perf_counter())
        (await client.get("/live")).raise_for_status()
        return 1000 * (time.perf_counter() - due)

    count = int(seconds * PER_S)
    return list(await asyncio.gather(*(ask(begun + number / PER_S) for number in range(count))))


async def until(sql: asyncpg.Connection, running: int) -> None:
    """Return when so many jobs run."""
    while await sql.fetchval(_RUNNING) != running:  # noqa: ASYNC110 - the database does not tell
        await asyncio.sleep(0.1)


async def measure(port: int, dsn: str, rounds: int, seconds: float) -> list[tuple[float, float]]:
    """The 99th percentiles of each round, in milliseconds: with nothing to do, and with every core calculating."""
    found: list[tuple[float, float]] = []
    sql = await asyncpg.connect(dsn)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        await steady(client, 1.0)
        for _ in range(rounds):
            idle = percentile(await steady(client, seconds))
            await sql.execute(_ADD, [uuid7() for _ in range(CORES)], _SUBMITTER)
            await until(sql, CORES)
            busy = percentile(await steady(client, seconds))
            if await sql.fetchval(_RUNNING) != CORES:
                raise RuntimeError("the jobs ended too soon")
            await sql.execute(_END)
            await until(sql, 0)
            await asyncio.sleep(1.0)  # new processes take the places of those that were killed
            found.append((idle, busy))
    await sql.close()
    return found


@contextlib.contextmanager
def working(environment: dict[str, str]) -> Iterator[None]:
    """One worker for CPU jobs."""
    process = subprocess.Popen([sys.executable, "-m", "app", "worker"], env={**os.environ, **environment})
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def run(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """On servers of its own."""
    server_account().own(folder)
    with contextlib.ExitStack() as stack:
        postgres = EmbeddedPostgres(folder / "postgres", durable=False)
        valkey = EmbeddedValkey(folder / "valkey", durable=False)
        for each in (postgres, valkey):
            each.start()
            stack.callback(each.kill)
        asyncio.run(upgrade(postgres.url()))
        environment = {
            "APP_ENV": "test",
            "LOG__LEVEL": "ERROR",
            "DATABASE_URL": postgres.url(),
            "VALKEY_URL": valkey.url(),
            "JOBS__QUEUES": '["cpu"]',
            "JOBS__PROCESSES": str(CORES),
        }
        os.environ.update(environment)
        stack.enter_context(working(environment))
        api = stack.enter_context(server("app.main:create_app"))
        dsn = postgres.url().replace("+asyncpg", "")
        is_ahead = ahead_of_others()  # after the start of the others, who would inherit it
        found = uvloop.run(measure(api.port, dsn, rounds, seconds))
    return {
        "p99_ms": [{"idle": round(idle, 2), "busy": round(busy, 2)} for idle, busy in found],
        "ratio": round(median(busy / idle for idle, busy in found), 2),
        "limit": LIMIT,
        "asker_waits": not is_ahead,
    }


def main() -> None:
    """Measure, print, keep. Exit code 1 beyond the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (default 5)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement (default 6)")
    parser.add_argument("--no-results", action="store_true", help="print only")
    options = parser.parse_args()
    machine = description()
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        found = run(Path(folder), options.rounds, options.seconds)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    if not options.no_results:
        keep("live", found, machine)
    sys.exit(0 if found["ratio"] <= LIMIT else 1)


if __name__ == "__main__":
    main()
