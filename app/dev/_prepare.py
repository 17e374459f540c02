"""Bring the development database to the newest schema and put the development users into it."""

from collections.abc import Mapping

import asyncpg

from app.core.db import Database, upgrade
from app.registry import development_users, seed_all

USERS = development_users()


async def make_database(server_url: str, name: str, url: str) -> None:
    """Make the database ``name``, reached by ``url``, on an embedded server unless it is there; it collects statistics of statements."""
    server = await asyncpg.connect(_driver_url(server_url))
    try:
        if await server.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            return
        await server.execute(f'CREATE DATABASE "{name}"')
    finally:
        await server.close()
    database = await asyncpg.connect(_driver_url(url))
    try:
        await database.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    finally:
        await database.close()


async def prepare(url: str, credentials: Mapping[str, str]) -> None:
    """Migrate, and give the development users these passwords. Running it again changes nothing."""
    await upgrade(url)
    database = Database(url, pool_size=1, max_overflow=0, application_name="gatehouse-dev")
    try:
        async with database.session() as session:
            await seed_all(session, credentials)
            await session.commit()
    finally:
        await database.close()


def _driver_url(url: str) -> str:
    return url.replace("+asyncpg", "")
