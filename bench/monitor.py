"""What the database monitor costs: each of its endpoints on large tables, and what a dashboard does to the service's own answers.

The database is that of ``bench.advice`` (a million rows and more), with the service's own tables beside it.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import uvloop
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.builtin.accounts.models import User
from app.core.db import get_db_context, upgrade
from app.core.http import Platform
from app.core.security import TokenService
from app.dev import EmbeddedPostgres, EmbeddedValkey, server_account
from app.main import create_app
from bench.advice._cases import cases
from bench.advice._servers import FILLED, connected, prepare, running_server
from bench.load import server
from bench.machine import description, keep

LIMIT_MS = 300.0
SLOWDOWN = 1.25
"""At most: p99 of ``GET /records/{id}`` beside a dashboard, over p99 without one."""
RATE, ROUND_S, REFRESH_S = 100, 10.0, 1.0
RECORDS = 300
TABLE = "public.tickets"
SQL = "SELECT id, title FROM tickets WHERE tenant_id = 120 AND assignee_id = 1500"
DASHBOARD = "/ui/db-monitor"
PATHS = ("/db-monitor/", "/ui/db-monitor")
_USER = UUID("00000000-0000-7000-8000-0000000000d1")
_RIGHTS = ("read:monitor", "write:monitor", "read:records", "write:records")
_PLENTY = "10000000"


@dataclass(frozen=True)
class Endpoint:
    """What is asked; ``body`` makes it a POST."""

    path: str
    body: dict[str, Any] | None = None


def watched() -> FastAPI:
    """The whole service, as the environment says."""
    return create_app()


def configure(postgres: str, valkey: str) -> None:
    """The environment of both processes: no limits, and no cache that would hide what an answer costs."""
    os.environ |= {"APP_ENV": "test", "DATABASE_URL": postgres, "VALKEY_URL": valkey}
    for name in ("RECORDS_GET", "RECORDS_CREATE"):
        os.environ |= {
            f"POLICIES__{name}__RATE_LIMIT__USER__MAX_TOKENS": _PLENTY,
            f"POLICIES__{name}__RATE_LIMIT__USER__REFILL_RATE": "1000000",
            f"POLICIES__{name}__RATE_LIMIT__IP__QUOTA": _PLENTY,
        }
    os.environ |= {"POLICIES__RECORDS_GET__CACHE": "off", "POLICIES__RECORDS_GET__CREDITS": "off"}


def endpoints(app: FastAPI) -> Iterator[Endpoint]:
    """Every one of the monitor's that only looks, and the two that plan a statement."""
    for context in iter_route_contexts(app.routes):
        path = str(getattr(context, "path", ""))
        if path.startswith(PATHS) and "GET" in (context.methods or ()) and "{" not in path:
            yield Endpoint(path)
    yield Endpoint(f"/db-monitor/table-stats/{TABLE}")
    for path in ("/db-monitor/analyze-query", "/db-monitor/optimize-query"):
        yield Endpoint(path, {"sql": SQL})


async def work(server: EmbeddedPostgres) -> None:
    """Run every statement of the advice's benchmark that may run, so that the server has statements to count."""
    async with connected(server, FILLED) as connection:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        await connection.execute("SET statement_timeout = '1s'")
        for case in cases(180_000):
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                async with connection.transaction(readonly=True):
                    await connection.fetch(case.sql)


async def token_of(app: FastAPI) -> str:
    """Of a user who is made for it."""
    platform: Platform = app.state.gatehouse
    async with get_db_context(platform.database) as session:
        session.add(
            User(id=_USER, email="bench@example.com", password_hash="none", roles=["admin", "db_reader"])
        )
    await platform.database.close()
    return (
        platform.require(TokenService).issue(str(_USER), scopes=_RIGHTS, roles=["admin", "db_reader"]).token
    )


async def time_each(
    client: httpx2.AsyncClient, asked: Sequence[Endpoint], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of each answer, one after the other; between rounds all that is kept for a few seconds ends."""
    taken: dict[str, list[float]] = {each.path: [] for each in asked}
    for number in range(rounds + 1):  # the first connects, compiles templates and reads facts
        # In another order each time: what one path has just asked is kept for the pages that show the same.
        for each in random.Random(number).sample(list(asked), len(asked)):
            started = time.perf_counter()
            answer = await (
                client.get(each.path) if each.body is None else client.post(each.path, json=each.body)
            )
            if answer.status_code != 200:
                raise RuntimeError(f"{each.path} answered {answer.status_code}: {answer.text[:300]}")
            if number:
                taken[each.path].append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(3.5)
    return taken


async def make_records(client: httpx2.AsyncClient) -> list[str]:
    """Rows to read; their paths."""
    made = [await client.post("/records", json={"name": f"record {number}"}) for number in range(RECORDS)]
    return [f"/records/{answer.json()['id']}" for answer in made]


async def steady(client: httpx2.AsyncClient, paths: Sequence[str]) -> list[float]:
    """Milliseconds of answers to requests that come at a steady rate, whatever the server does: who waits behind another counts in full."""
    taken: list[float] = []
    began = time.perf_counter()

    async def ask(path: str, due: float) -> None:
        answer = await client.get(path)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}: {answer.text[:300]}")
        taken.append(1000 * (time.perf_counter() - due))

    async with asyncio.TaskGroup() as group:
        for number, path in zip(range(int(RATE * ROUND_S)), itertools.cycle(paths), strict=False):
            due = began + number / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(ask(path, due))
    return taken


async def refresh(client: httpx2.AsyncClient) -> None:
    """The overview, with every check, once a second: the page itself does it every ten."""
    while True:
        started = time.perf_counter()
        (await client.get(DASHBOARD)).raise_for_status()
        await asyncio.sleep(max(0.0, REFRESH_S - (time.perf_counter() - started)))


async def beside(
    client: httpx2.AsyncClient, looker: httpx2.AsyncClient, rounds: int
) -> dict[str, list[float]]:
    """p99 of the service's own answers in ms, round by round: quiet, and beside a dashboard."""
    paths = await make_records(client)
    p99: dict[str, list[float]] = {"quiet": [], "beside": []}
    await steady(client, paths)
    for _ in range(rounds):
        p99["quiet"].append(percentile(await steady(client, paths)))
        refreshing = asyncio.create_task(refresh(looker))
        p99["beside"].append(percentile(await steady(client, paths)))
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)
        if not refreshing.cancelled():
            raise RuntimeError("the dashboard did not refresh") from refreshing.exception()
    return p99


def percentile(taken: Sequence[float], share: float = 0.99) -> float:
    """The value that ``share`` of them do not exceed."""
    return sorted(taken)[min(len(taken) - 1, int(share * len(taken)))]


def report(taken: dict[str, list[float]], p99: dict[str, list[float]]) -> tuple[dict[str, Any], bool]:
    """Print both tables; the numbers, and whether all promises are kept."""
    print(f"{'endpoint, ms':<44}{'median':>8}{'most':>8}{'limit':>8}")
    medians = {path: median(all_of) for path, all_of in taken.items()}
    for path, all_of in sorted(taken.items(), key=lambda item: -medians[item[0]]):
        verdict = "" if medians[path] < LIMIT_MS else "  TOO SLOW"
        print(f"{path:<44}{medians[path]:>8.1f}{max(all_of):>8.1f}{LIMIT_MS:>8.0f}{verdict}")
    ratio = median(there / alone for there, alone in zip(p99["beside"], p99["quiet"], strict=True))
    print(f"\nGET /records/{{id}}, {RATE} a second, p99 in ms, round by round")
    for name, all_of in p99.items():
        print(f"{name:<44}" + "".join(f"{value:>8.1f}" for value in all_of))
    print(f"{'beside / quiet, median of rounds':<44}{ratio:>8.2f}   most {SLOWDOWN}")
    is_kept = ratio <= SLOWDOWN and all(value < LIMIT_MS for value in medians.values())
    return {"endpoints_ms": medians, "p99_ms": p99, "ratio": round(ratio, 3)}, is_kept


async def measure(
    port: int, token: str, asked: Sequence[Endpoint], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Everything, over two clients of one server."""
    headers = {"Authorization": f"Bearer {token}"}
    base = f"http://127.0.0.1:{port}"
    async with (
        httpx2.AsyncClient(base_url=base, headers=headers, timeout=30) as client,
        httpx2.AsyncClient(base_url=base, headers=headers, timeout=30) as looker,
    ):
        taken = await time_each(looker, asked, rounds)
        return taken, await beside(client, looker, rounds)


def main() -> int:
    """The command. 0: all promises are kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.monitor", description=(__doc__ or "").strip())
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    rounds: int = parser.parse_args().rounds
    machine = description()
    with (
        running_server(with_hypopg=False) as postgres,
        tempfile.TemporaryDirectory(prefix="gatehouse-monitor-") as name,
    ):
        server_account().own(Path(name))
        valkey = EmbeddedValkey(Path(name) / "valkey", durable=False)
        valkey.start()
        try:
            took = uvloop.run(prepare(postgres, with_hypopg=False))
            print(f"the tables took {took:.0f} s")
            uvloop.run(upgrade(postgres.url(FILLED)))
            uvloop.run(work(postgres))
            configure(postgres.url(FILLED), valkey.url(0))
            app = create_app()
            token = uvloop.run(token_of(app))
            with server("bench.monitor:watched") as serving:
                taken, p99 = uvloop.run(measure(serving.port, token, list(endpoints(app)), rounds))
        finally:
            valkey.kill()
    numbers, is_kept = report(taken, p99)
    keep("monitor", numbers, machine)
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
