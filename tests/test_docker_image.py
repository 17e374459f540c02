"""The image without an engine: its files, the environment that compose sets, and its commands, run by the same programs."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

import psutil
import pytest
from valkey.asyncio import Valkey
from valkey.exceptions import AuthenticationError
from valkey.exceptions import ConnectionError as NoConnection

from app.dev import server_account
from app.dev._wheels import valkey_server
from tests.apps import client_at
from tests.containers import (
    ROOT,
    SECRETS,
    environment_of_the_api,
    instruction,
    interpolate,
    is_in_context,
    services,
)
from tests.servers import new_folder

TIMEOUT_S = 60.0


class TestImage:
    """The files that the image holds, the environment that compose sets, and the commands of the Dockerfile."""

    async def test_serves_is_healthy_and_lets_prometheus_in_without_writing_a_file(
        self, postgres_url: str, valkey_url: str, tmp_path: Path
    ) -> None:
        root = image_files(tmp_path / "srv")
        copy_compiled(root)
        before = sorted(root.rglob("*"))
        port = free_port()
        environment = environment_of_the_api() | {
            "DATABASE_URL": postgres_url, "VALKEY_URL": valkey_url, "PYTHONDONTWRITEBYTECODE": "1",
            "HOST": "127.0.0.1", "PORT": str(port), "METRICS__NETWORKS": '["192.0.2.0/24"]',
        }  # fmt: skip
        with running(json.loads(instruction("CMD")), root, environment) as process:
            await become_healthy(root, environment, process)
            async with client_at(f"http://127.0.0.1:{port}") as client:
                ready = await client.get("/ready")
                scraped = await client.get(
                    "/metrics", headers={"Authorization": f"Bearer {SECRETS['METRICS__TOKEN']}"}
                )
                stranger = await client.get("/metrics")
                docs = await client.get("/docs")
            assert ready.json()["checks"] == {"database": "ok", "schema": "ok", "valkey": "ok"}
            assert (ready.status_code, scraped.status_code, docs.status_code) == (200, 200, 404)
            assert stranger.status_code == 401
        assert sorted(root.rglob("*")) == before

    def test_healthcheck_fails_when_nothing_answers(self) -> None:
        command = healthcheck()
        environment = {"PATH": os.defpath, "PORT": str(free_port())}
        assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0


def image_files(root: Path) -> Path:
    """What the Dockerfile copies, less what .dockerignore leaves out."""
    root.mkdir()
    for path in sorted(ROOT.glob("app/**/*")) + sorted(ROOT.glob("alembic/**/*")) + [ROOT / "alembic.ini"]:
        relative = path.relative_to(ROOT)
        if path.is_file() and "__pycache__" not in relative.parts and is_in_context(str(relative)):
            (root / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, root / relative)
    assert not (root / "app/dev").exists()
    return root


def copy_compiled(root: Path) -> None:
    """What Python has made of these files already: to compile them all takes longer than to import them."""
    for path in root.glob("app/**/*.py"):
        compiled = Path(cache_from_source(str(ROOT / path.relative_to(root))))
        if compiled.exists():
            (path.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copyfile(compiled, path.parent / "__pycache__" / compiled.name)


def healthcheck() -> list[str]:
    command: list[str] = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    return [sys.executable, *command[1:]]


async def become_healthy(root: Path, environment: Mapping[str, str], process: subprocess.Popen[str]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        # An interpreter for each question would keep the server from starting.
        await listening(int(environment["PORT"]))
        while True:
            check = await asyncio.create_subprocess_exec(
                *healthcheck(), cwd=root, env=environment, stderr=asyncio.subprocess.DEVNULL
            )
            if await check.wait() == 0:
                return
            assert process.poll() is None, "the server has ended"


async def listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *command[1:]] if command[0] == "python" else command,
        cwd=folder, env={"PATH": os.defpath, **environment}, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


class TestValkey:
    async def test_its_command_starts_a_server_that_keeps_limits_and_asks_for_the_password(self) -> None:
        folder, port = new_folder(), free_port()
        command = [interpolate(part, SECRETS) for part in services()["valkey"]["command"]]
        program = str(valkey_server(server_account()).parent / command[0])
        with running([program, *command[1:], "--port", str(port)], folder, {}) as process:
            client = Valkey(port=port, password=SECRETS["VALKEY_PASSWORD"])
            await answering(client, process)
            options: Mapping[str, str] = await client.config_get("*")
            await client.aclose()
            stranger = Valkey(port=port)
            with pytest.raises(AuthenticationError):
                await stranger.ping()
            await stranger.aclose()
        shutil.rmtree(folder)
        assert (options["maxmemory-policy"], options["appendonly"]) == ("noeviction", "yes")
        assert options["maxmemory"] == str(512 * 1024 * 1024)


async def answering(client: Valkey, process: subprocess.Popen[str]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                await client.ping()
            except NoConnection:
                assert psutil.pid_exists(process.pid)
                await asyncio.sleep(0.02)
            else:
                return
