"""The database, and a session of it, for one command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database, translate_errors
from app.core.errors import ConfigurationError
from app.settings import Settings


def database_url(settings: Settings) -> str:
    """The database's URL. Raises ``ConfigurationError`` when there is none."""
    if settings.postgres_url is None:
        raise ConfigurationError("DATABASE_URL is not set; for the servers of `make run`: . .local/env")
    return settings.postgres_url


@asynccontextmanager
async def one_database(settings: Settings) -> AsyncIterator[Database]:
    """A database with one connection, closed at the end. Raises a ``DatabaseError`` when it does not answer."""
    database = Database(
        database_url(settings), pool_size=1, max_overflow=0, application_name=f"{settings.app_name}-cli"
    )
    try:
        with translate_errors():
            yield database
    finally:
        await database.close()


@asynccontextmanager
async def one_session(settings: Settings) -> AsyncIterator[AsyncSession]:
    """A session that commits at the end, or not at all. Raises a ``DatabaseError`` when the database does not answer."""
    async with one_database(settings) as database, database.session() as session:
        yield session
        await session.commit()
