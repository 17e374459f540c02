"""A PostgreSQL with the tables, to be copied: migrating takes longer than all else about a server of a test's own."""

import fcntl
from pathlib import Path

import asyncpg

from app.core.db import upgrade
from app.dev._runner import DATABASE
from tests.servers import CopiedPostgres


async def migrated(pattern: str) -> Path:
    """A copy of the pattern whose databases ``postgres`` and ``gatehouse`` have the tables, to be copied: made by whoever is first."""
    made = Path(pattern).with_name("migrated")
    with made.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            server = CopiedPostgres(made.with_suffix(".new"), Path(pattern))
            server.start()
            try:
                await upgrade(server.url())
                await _double(server.url("template1").replace("+asyncpg", ""))
            finally:
                server.stop()
            server.folder.rename(made)
    return made


async def _double(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE postgres")
    finally:
        await connection.close()
