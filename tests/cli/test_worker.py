"""`python -m app worker` as a real process: what its probes say, and how it stops."""

import asyncio
import json
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from app.cli._worker import UnknownQueue, refuse_unknown, with_options
from app.core.db import Database
from app.settings import Settings
from tests.builtin.jobs.rows import insert_jobs
from tests.cli.test_commands import Command, command, servers_environment
from tests.nursery import Child, start
from tests.processes import PATIENCE_S

__all__ = ["command", "servers_environment"]
pytestmark = pytest.mark.usefixtures("clean_database")
WORKER = ("app", "worker")
PROGRAM = ("tests.cli.worker_program",)
NOWHERE = "127.0.0.1:1"
WITHOUT_POOL = {"JOBS__QUEUES": '["webhooks"]'}
"""Whose jobs need no processes of their own, which take more than a second to start."""


@dataclass
class Running:
    """A worker's process, its log, and a client of its probes."""

    process: Child
    client: httpx2.AsyncClient
    log: Path

    def events(self) -> list[str]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line["event"] for line in lines if line["event"].startswith("worker.")]

    async def ready(self, *failing: str) -> None:
        """Returns when ``/ready`` says that these fail and no other."""
        deadline = time.monotonic() + PATIENCE_S
        expected = list(failing) or {"database": "ok", "schema": "ok", "valkey": "ok", "worker": "ok"}
        while expected not in (found := (await self.client.get("/ready")).json()).values():
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.01)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)


@asynccontextmanager
async def worker(environment: Mapping[str, str], *program: str) -> AsyncIterator[Running]:
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.NamedTemporaryFile() as log:
        host, port = listener.getsockname()
        process = start(
            *program, "--fd", "{0}", environment=environment, inherit=[listener.fileno()], stdout=log.fileno()
        )
        listener.close()
        try:
            async with httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=PATIENCE_S) as client:
                yield Running(process, client, Path(log.name))
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def environment(postgres_url: str, valkey_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": postgres_url,
        "VALKEY_URL": valkey_url,
        "VALKEY_TIMEOUT_MS": "5000",
        "PATH": "/usr/bin",
    }


async def rows(database: Database, statement: str) -> list[Any]:
    async with database.session() as session:
        return list(map(tuple, await session.execute(text(statement))))


async def test_it_says_how_it_is_and_stops_in_order(environment: dict[str, str], database: Database) -> None:
    async with worker(environment, *WORKER) as running:
        await running.ready()
        assert "gatehouse_periodic_runs_total" in (await running.client.get("/metrics")).text
        strange = await running.client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"})
        assert strange.status_code == 403
        assert (await running.client.get("/health/db")).status_code == 404
        assert await rows(database, "SELECT count(*) FROM job_workers") == [(1,)]
        running.process.send_signal(signal.SIGTERM)
        assert await running.ended() == 0
        assert running.events() == ["worker.started", "worker.stopped"]
        assert await rows(database, "SELECT count(*) FROM job_workers") == [(0,)]


async def test_it_waits_for_a_database_that_is_away_and_can_be_stopped_meanwhile(
    environment: dict[str, str],
) -> None:
    away = WITHOUT_POOL | {"DATABASE_URL": f"postgresql+asyncpg://nobody@{NOWHERE}/none"}
    async with worker(environment | away, *WORKER) as running:
        assert (await running.client.get("/live")).status_code == 200
        assert (await running.client.get("/ready")).status_code == 503
        async with asyncio.timeout(PATIENCE_S):
            while "worker.waiting" not in running.events():  # noqa: ASYNC110 - the log tells nobody
                await asyncio.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        assert await running.ended() == 0
        assert running.events() == ["worker.waiting", "worker.stopped"]


async def test_it_starts_while_valkey_is_away_and_says_so(environment: dict[str, str]) -> None:
    away = WITHOUT_POOL | {"VALKEY_URL": f"valkey://{NOWHERE}/0"}
    async with worker(environment | away, *WORKER) as running:
        await running.ready("valkey")
        assert "worker.started" in running.events()
        running.process.send_signal(signal.SIGINT)
        assert await running.ended() == 0


async def test_jobs_in_work_get_their_time_until_a_second_signal_gives_them_back(
    environment: dict[str, str], database: Database
) -> None:
    (job_id,) = await insert_jobs(database, "queued", name="sleep_long", publish_s=0)
    async with worker(environment | {"JOBS__GRACE_S": "3600"}, *PROGRAM) as running:
        status = "SELECT status, attempts FROM jobs"
        async with asyncio.timeout(PATIENCE_S):
            while await rows(database, status) != [("running", 2)]:  # noqa: ASYNC110 - the database does not tell
                await asyncio.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        await running.ready("worker", "draining")
        assert await rows(database, status) == [("running", 2)]
        running.process.send_signal(signal.SIGTERM)
        assert await running.ended() == 0
    assert await rows(database, "SELECT id, status, attempts FROM jobs") == [(job_id, "queued", 1)]


def test_options_go_before_the_settings() -> None:
    before = Settings(_env_file=None)
    after = with_options(before, queues=["a"], concurrency=3, processes=None)
    assert (after.jobs.queues, after.jobs.concurrency) == (["a"], 3)
    assert after.jobs.processes == before.jobs.processes


@pytest.mark.parametrize(
    "arguments", [["--queues", "mispelt"], ["--queues", ""], ["--concurrency", "0"], ["--processes", "many"]]
)
def test_options_that_make_no_sense_are_wrong_usage(command: Command, arguments: list[str]) -> None:
    outcome = command("worker", *arguments)
    assert (outcome.code, "Traceback" in outcome.errors) == (2, False)


def test_an_unknown_queue_of_the_environment_fails_in_one_line(command: Command) -> None:
    outcome = command("worker", JOBS__QUEUES='["mispelt"]')
    assert outcome.code == 2
    assert "mispelt" in outcome.errors


async def test_a_queue_that_has_jobs_is_no_mistake(settings: Settings, database: Database) -> None:
    await insert_jobs(database, "queued", queue="left_over")
    asked = with_options(settings, queues=["left_over"])
    await asyncio.to_thread(refuse_unknown, asked)
    with pytest.raises(UnknownQueue, match="other"):
        await asyncio.to_thread(refuse_unknown, with_options(settings, queues=["left_over", "other"]))
