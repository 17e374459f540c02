"""The real servers that tests share, and servers of a test's own for fault tests."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Self

import psutil

from app.dev import EmbeddedPostgres, EmbeddedValkey, server_account

PREFIX = "gatehouse-test-"
_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 * 2**30
_held: list[int] = []


@cache
def place() -> Path:
    """Where the servers' data goes: into memory where there is enough of it, because a disk takes ten times as long for a new database."""
    is_there = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK)
    if is_there and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES:
        return _MEMORY
    return Path(tempfile.gettempdir())


def new_folder() -> Path:
    """A folder that the servers' account can enter; pytest's own temporary folders are closed to it.

    It is locked as long as this process lives, so that a later run can tell and remove what a killed run left.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place()))
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _held.append(lock)
    server_account().own(folder)
    return folder


def remove_left_overs() -> None:
    """Remove the folders of runs that were killed."""
    for base in {_MEMORY, Path(tempfile.gettempdir())}:
        for lock in base.glob(f"{PREFIX}*/lock"):
            with contextlib.suppress(OSError), lock.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)


class Pattern(EmbeddedPostgres):
    """New data of which others are copies: to make them takes ten times as long as to copy them. Is never started."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, durable=False)

    def make(self) -> None:
        """Once, before the first copy."""
        self.account.make_folder(self.folder)
        self._initialise()


class CopiedPostgres(EmbeddedPostgres):
    """A server whose data and password are a copy of those of another, which does not run meanwhile."""

    def __init__(self, folder: Path, source: Path) -> None:
        super().__init__(folder, durable=False)
        self._source = source

    def copy(self) -> None:
        """What the first start does besides, for a server that somebody else starts."""
        self.account.make_folder(self.folder)
        self._initialise()

    def _initialise(self) -> None:
        parts = [self._source / name for name in ("password", "data")]
        subprocess.run(["cp", "-a", *parts, self.folder], check=True)


class _SharedPostgres(CopiedPostgres):
    """Keeps the counters of all statements of a run: else it would throw some away, those of one test process for those of another."""

    def command(self) -> list[str]:
        return [*super().command(), "-c", "pg_stat_statements.max=50000"]


class SharedServers:
    """One PostgreSQL and one Valkey for a whole run; under xdist the controller starts them and the workers get ``values``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pattern = Pattern(folder / "pattern")
        self.postgres = _SharedPostgres(folder / "postgres", self.pattern.folder)
        self.valkey = EmbeddedValkey(folder / "valkey", durable=False)

    @classmethod
    def start(cls) -> Self:
        remove_left_overs()
        servers = cls(new_folder())
        try:
            servers.valkey.launch()
            servers.pattern.make()
            servers.postgres.start()
            servers.valkey.wait_ready()
        except BaseException:
            servers.stop()
            raise
        return servers

    def stop(self) -> None:
        for server in (self.postgres, self.valkey):
            server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def values(self) -> dict[str, str]:
        """What a worker needs, as plain text: xdist carries no objects."""
        return {
            "postgres": self.postgres.url("{}"),
            "valkey": self.valkey.url(0),
            "pattern": str(self.pattern.folder),
        }


class PrivateServer:
    """A server of one test's own, which it may stop, freeze and kill."""

    def __init__(self, server: EmbeddedPostgres | EmbeddedValkey, url: Callable[[], str]) -> None:
        self._server = server
        self._url = url

    @property
    def url(self) -> str:
        return self._url()

    @property
    def pid(self) -> int:
        return self._server.pid

    def kill(self) -> None:
        """kill -9; returns when it is gone."""
        self._server.kill()

    def terminate(self) -> None:
        """Stop in order; returns when it is gone."""
        self._server.stop()

    def restart(self) -> None:
        """Start again on the same URL, stopping it first if it runs; returns when it answers."""
        self._server.stop()
        self._server.start()

    def stop_signal(self) -> None:
        """Freeze it and its children: connections stay open and nothing answers."""
        for process in self._family():
            process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Let it go on after ``stop_signal``."""
        for process in self._family():
            with contextlib.suppress(
                psutil.NoSuchProcess
            ):  # One whose client has left ends as soon as it goes on.
                process.send_signal(signal.SIGCONT)

    def _family(self) -> list[psutil.Process]:
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]


@contextlib.contextmanager
def new_valkey() -> Iterator[PrivateServer]:
    """A valkey-server of the caller's own."""
    folder = new_folder()
    server = EmbeddedValkey(folder / "valkey", durable=False)
    server.start()
    yield PrivateServer(server, server.url)
    server.kill()
    shutil.rmtree(folder)


def url_of(values: Mapping[str, str], database: str) -> str:
    """The shared PostgreSQL's URL for one of its databases."""
    return values["postgres"].replace("{}", database)
