"""A PostgreSQL of the benchmark's own: the embedded one, or Debian's 15 with hypopg."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg

from app.dev import EmbeddedPostgres, ServerFailed, server_account
from app.dev._process import CLEAN_ENVIRONMENT, under

HERE = Path(__file__).parent
FILLED, EMPTY = "shop", "shape"
"""The database with the rows, and its twin without, where index definitions are compared."""
_LOCALES = ("C.utf8", "C.UTF-8", "en_US.utf8", "en_US.UTF-8")
_DEBIAN = Path("/usr/lib/postgresql/15")
_HYPOPG = Path("/usr/share/postgresql/15/extension/hypopg.control")


class HypopgIsMissing(RuntimeError):
    """This machine has no server with hypopg."""


class DebianPostgres(EmbeddedPostgres):
    """Debian's PostgreSQL 15, which has hypopg; otherwise as the embedded one."""

    def __init__(self, folder: Path) -> None:
        if not (_DEBIAN / "bin" / "postgres").exists() or not _HYPOPG.exists():
            raise HypopgIsMissing("needs PostgreSQL 15 with hypopg: apt-get install postgresql-15-hypopg")
        super().__init__(folder, durable=False)
        self._programs = _DEBIAN / "bin"

    def _initialise(self) -> None:
        password, fresh = self.folder / "password", self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        password.touch(mode=0o600)
        password.write_text("for-a-private-socket")
        self.account.own(password)
        words = [
            *under(self.account, signal.SIGKILL), str(self._programs / "initdb"), "-D", str(fresh), "-U", "gatehouse",
            "--pwfile", str(password), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync",
        ]  # fmt: skip
        made = subprocess.run(
            words, cwd=self.folder, env=CLEAN_ENVIRONMENT, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise ServerFailed(f"initdb failed: {made.stderr.strip()}")
        with (fresh / "postgresql.auto.conf").open("a") as conf:
            conf.write("fsync = off\nshared_buffers = '64MB'\nmax_wal_size = '256MB'\ntimezone = 'UTC'\n")
        fresh.rename(self.data)


def dsn(url: str) -> str:
    """SQLAlchemy's URL as asyncpg wants it."""
    return url.replace("postgresql+asyncpg://", "postgresql://")


@contextlib.contextmanager
def running_server(*, with_hypopg: bool) -> Iterator[EmbeddedPostgres]:
    """A server in a folder of its own, killed and removed when the block ends. Raises HypopgIsMissing."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-advice-") as name:
        folder = Path(name)
        server_account().own(folder)
        server = (
            DebianPostgres(folder / "postgres")
            if with_hypopg
            else EmbeddedPostgres(folder / "postgres", durable=False)
        )
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextlib.asynccontextmanager
async def connected(server: EmbeddedPostgres, database: str) -> AsyncIterator[Any]:
    """asyncpg's connection."""
    connection = await asyncpg.connect(dsn(server.url(database)), statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


async def prepare(server: EmbeddedPostgres, *, with_hypopg: bool) -> float:
    """Make both databases and fill one; how many seconds that took. The collation is not C, as in most databases."""
    began = time.monotonic()
    async with connected(server, "postgres") as connection:
        await connection.execute("ALTER SYSTEM SET autovacuum = off")
        await connection.execute("SELECT pg_reload_conf()")
        for name in (FILLED, EMPTY):
            await _make_database(connection, name)
    for name in (EMPTY, FILLED):
        async with connected(server, name) as connection:
            await connection.execute((HERE / "tables.sql").read_text())
            if with_hypopg:
                await connection.execute("CREATE EXTENSION hypopg")
            if name == FILLED:
                await connection.execute((HERE / "rows.sql").read_text())
            await connection.execute((HERE / "indexes.sql").read_text())
            await connection.execute("VACUUM ANALYZE")
    return time.monotonic() - began


async def _make_database(connection: Any, name: str) -> None:
    """With the first UTF-8 locale of the C library that there is."""
    for locale in _LOCALES:
        with contextlib.suppress(asyncpg.InvalidParameterValueError, asyncpg.WrongObjectTypeError):
            await connection.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER libc LOCALE '{locale}'"
            )
            return
    raise ServerFailed(f"the C library has none of {', '.join(_LOCALES)}")
