"""A database of a test's own whose statements the server counts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg

from app.core.db import Database
from tests.servers import url_of


@asynccontextmanager
async def counting_database(
    servers: Mapping[str, str], name: str, *, template: str = "template1", schema: str = "public"
) -> AsyncIterator[Database]:
    """A copy of ``template`` with ``pg_stat_statements`` in ``schema``; dropped at the end.

    The server's counters are shared, but those of another database's statements are not seen here.
    """
    admin = await asyncpg.connect(url_of(servers, "postgres").replace("+asyncpg", ""))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        database = Database(url_of(servers, name))
        try:
            async with database.engine.begin() as connection:
                await connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                await connection.exec_driver_sql(f"CREATE EXTENSION pg_stat_statements SCHEMA {schema}")
            yield database
        finally:
            await database.close()
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()
