"""`python -m app serve` as a real process. In an interpreter of its own: ``tests/dev/test_runner.py``."""

import asyncio
import signal
import socket
import time
from pathlib import Path

import httpx2
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.cli._serve import _config, _draining_at_signal
from app.settings import Settings
from tests.apps import client_at
from tests.dev.running import still_there
from tests.nursery import run
from tests.processes import PATIENCE_S, Api, api_process

TIMEOUT_S = 60.0


@pytest.fixture
def environment(postgres_url: str, valkey_url: str) -> dict[str, str]:
    return {"DATABASE_URL": postgres_url, "VALKEY_URL": valkey_url, "VALKEY_TIMEOUT_MS": "5000"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_server_answers_and_ends_well(environment: dict[str, str], number: signal.Signals) -> None:
    async with api_process(environment) as api:
        assert (await api.client.get("/no-such-path")).status_code == 404
        api.process.send_signal(number)
        assert await asyncio.to_thread(api.process.wait, TIMEOUT_S) == 0


async def test_workers_share_the_port_add_up_their_metrics_and_leave_nothing_behind(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with api_process(environment | {"WORKERS": "2", "TMPDIR": str(tmp_path)}) as api:
        family = psutil.Process(api.process.pid).children(recursive=True)
        folder = metrics_folder(tmp_path)
        workers = [member for member in family if "spawn_main" in " ".join(member.cmdline())]
        assert len(workers) == 2
        assert {member.environ()["PROMETHEUS_MULTIPROC_DIR"] for member in workers} == {str(folder)}
        await assert_the_numbers_add_up(api, folder)
        api.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(api.process.wait, TIMEOUT_S) == 0
        assert still_there(family, timeout_s=10) == []
        assert not folder.exists()


def metrics_folder(temporary: Path) -> Path:
    (folder,) = temporary.glob("gatehouse-metrics-*")
    return folder


async def assert_the_numbers_add_up(api: Api, folder: Path) -> None:
    # Each request comes on a connection of its own, which either worker may accept.
    limits = httpx2.Limits(max_keepalive_connections=0)
    async with client_at(api.client.base_url, timeout=PATIENCE_S, limits=limits) as client:
        sent = 0
        deadline = time.monotonic() + PATIENCE_S
        while len(await asyncio.to_thread(counting_files, folder)) < 2:
            assert time.monotonic() < deadline, "one worker gets all requests"
            answers = await asyncio.gather(*(client.get("/nothing") for _ in range(20)))
            assert {answer.status_code for answer in answers} == {404}
            await total(client)  # which counts what is not counted yet
            sent += 20
        for _ in range(5):
            while await total(client) < sent:
                assert time.monotonic() < deadline, "the workers' numbers do not add up"
            assert await total(client) == sent


def counting_files(folder: Path) -> set[str]:
    """Of the workers that have counted a request of ours."""
    files = {file.name: file.read_bytes() for file in folder.glob("counter_*.db")}
    return {name for name, content in files.items() if b'"handler": "none"' in content}


async def total(client: httpx2.AsyncClient) -> float:
    """Requests for what there is not."""
    text = (await client.get("/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "http_requests_total" and sample.labels["status"] == "404"
    )


def test_taken_port_is_one_line(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = run("app", "serve", environment=environment | {"PORT": str(port)})
    assert done.code == 1
    assert done.errors == (
        f"error: Cannot listen on 127.0.0.1:{port}: Address already in use; set HOST or PORT\n"
    )


def test_missing_database_is_one_line() -> None:
    done = run("app", "serve", environment={"PORT": "0"})
    assert done.code == 1
    assert done.errors.startswith("error: DATABASE_URL and VALKEY_URL must be set")
    assert done.errors.count("\n") == 1


def test_unsafe_production_refuses_to_start_and_names_the_variables(environment: dict[str, str]) -> None:
    unsafe = {"PORT": "0", "APP_ENV": "production", "DEBUG": "true"}
    done = run("app", "serve", environment=environment | unsafe)
    assert done.code == 1
    assert "APP_ENV=production refuses to start" in done.errors
    for name in ("SECRET_KEY", "DEBUG", "ENCRYPTION_KEYS"):
        assert name in done.errors
    assert done.errors.count("\n") == 1


def test_signal_drains_before_the_servers_own_handler_runs() -> None:
    seen: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("server"))
    try:
        with _draining_at_signal(lambda: seen.append("drain")):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == ["drain", "server", "server"]


def test_an_idle_connection_stays_open_longer_than_the_load_balancers() -> None:
    """Uvicorn's 5 s are less than what a balancer or a client keeps: it would send on a connection that is just being closed."""
    assert _config(Settings(_env_file=None)).timeout_keep_alive == 75
    assert _config(Settings(_env_file=None, keep_alive_s=3)).timeout_keep_alive == 3
