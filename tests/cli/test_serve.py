"""`python -m app serve` as a real process."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.cli._serve import _config, _draining_at_signal
from app.settings import Settings
from tests.dev.running import still_there
from tests.nursery import run

CHECKOUT = Path(__file__).parents[2]
TIMEOUT_S = 60.0


@contextmanager
def serving(
    environment: Mapping[str, str], *arguments: str, fd: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", *arguments],
        cwd=CHECKOUT,
        env={"PATH": os.defpath, **environment},
        pass_fds=() if fd is None else (fd,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for member in family:
            member.kill()
        process.kill()
        process.communicate()


@contextmanager
def serving_on_a_socket(
    environment: Mapping[str, str],
) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """The process and its address. Only it holds the socket, so that its end would be noticed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        with serving(environment, "--fd", str(number), fd=number) as process:
            address = listener.getsockname()
            listener.close()
            yield process, address


def status_of(address: tuple[str, int], path: str, process: subprocess.Popen[str]) -> int:
    """The answer's status, however long the server takes to start."""
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        raise AssertionError(process.communicate(timeout=TIMEOUT_S)[1]) from None
    finally:
        connection.close()


@pytest.fixture
def environment(postgres_url: str, valkey_url: str) -> dict[str, str]:
    return {"DATABASE_URL": postgres_url, "VALKEY_URL": valkey_url}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_answers_and_ends_well_when_asked_to(
    environment: dict[str, str], number: signal.Signals
) -> None:
    with serving_on_a_socket(environment) as (process, address):
        assert status_of(address, "/no-such-path", process) == 404
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 0


def test_workers_share_the_port_and_leave_nothing_behind(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {"WORKERS": "2", "TMPDIR": str(tmp_path)}
    with serving_on_a_socket(environment) as (process, address):
        assert status_of(address, "/no-such-path", process) == 404
        family = psutil.Process(process.pid).children(recursive=True)
        (folder,) = tmp_path.glob("gatehouse-metrics-*")
        workers = [member for member in family if "spawn_main" in " ".join(member.cmdline())]
        assert len(workers) == 2
        assert {member.environ()["PROMETHEUS_MULTIPROC_DIR"] for member in workers} == {str(folder)}
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        assert still_there(family, timeout_s=10) == []
        assert not folder.exists()


def test_taken_port_is_one_line(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = run("app", "serve", environment=environment | {"PORT": str(port)})
    assert done.code == 1
    assert done.errors == (
        f"error: Cannot listen on 127.0.0.1:{port}: Address already in use; set HOST or PORT\n"
    )


def test_missing_database_is_one_line() -> None:
    with serving({"PORT": "0"}) as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 1
        assert errors.startswith("error: DATABASE_URL and VALKEY_URL must be set")
        assert errors.count("\n") == 1


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
