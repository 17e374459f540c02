"""A real primary and a real standby that streams from it."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from app.dev import EmbeddedPostgres
from app.dev._process import under
from tests.servers import CopiedPostgres, new_folder

# Whoever wants to be sure that the standby shows his commit says synchronous_commit = remote_apply; nobody else waits for it.
_PRIMARY = ("synchronous_standby_names=*",)
_STANDBY = ("max_standby_streaming_delay=0", "wal_retrieve_retry_interval=50ms")


def _words(options: tuple[str, ...]) -> list[str]:
    return [part for option in options for part in ("-c", option)]


class _Primary(CopiedPostgres):
    def command(self) -> list[str]:
        return [*super().command(), *_words(_PRIMARY)]


class _Standby(EmbeddedPostgres):
    """A server whose data is copied from another, which it then follows."""

    def __init__(self, folder: Path, source: EmbeddedPostgres) -> None:
        super().__init__(folder, durable=False)
        self._source = source

    def command(self) -> list[str]:
        return [*super().command(), *_words(_STANDBY)]

    def _initialise(self) -> None:
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(self._source.password)
        subprocess.run(
            [
                *under(self.account, signal.SIGKILL), str(self._programs / "pg_basebackup"), "-D", str(self.data),
                "-h", str(self._source.socket_folder), "-U", "gatehouse", "-R", "-X", "stream", "-c", "fast", "--no-sync",
            ],
            cwd=self.folder, env={"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": self._source.password},
            capture_output=True, check=True,
        )  # fmt: skip


class Pair:
    """Both servers, and what a test does to the standby."""

    def __init__(self, folder: Path, pattern: Path) -> None:
        self.primary = _Primary(folder / "primary", pattern)
        self.standby = _Standby(folder / "standby", self.primary)

    def start(self) -> None:
        self.primary.start()
        self.standby.start()

    def stop(self) -> None:
        for server in (self.standby, self.primary):
            server.kill()

    async def commit(self, *statements: str, is_shown: bool = True) -> None:
        """Run them in one transaction on the primary; with ``is_shown`` the standby shows it when this returns."""
        async with _connection(self.primary.url()) as connection, connection.transaction():
            await connection.execute(
                f"SET LOCAL synchronous_commit = {'remote_apply' if is_shown else 'local'}"
            )
            for statement in statements:
                await connection.execute(statement)

    async def on_standby(self, query: str) -> Any:
        """One value."""
        async with _connection(self.standby.url()) as connection:
            return await connection.fetchval(query)

    async def mend(self) -> None:
        """Both run, and the standby replays and has what the primary has."""
        for server in (self.primary, self.standby):
            if not server.is_running:
                server.start()
        await self.on_standby("SELECT pg_wal_replay_resume()")
        await self.commit("SELECT pg_current_xact_id()")


@contextlib.asynccontextmanager
async def _connection(url: str) -> Any:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.contextmanager
def replicated(pattern: str) -> Iterator[Pair]:
    """A pair of the caller's own, with copies of this data."""
    folder = new_folder()
    pair = Pair(folder, Path(pattern))
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(folder, ignore_errors=True)
