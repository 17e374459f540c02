"""Run by alembic.

With a connection handed over by ``app.core.db.upgrade``, or from the command line with ``DATABASE_URL``.
"""

import asyncio
from logging.config import fileConfig

from sqlalchemy import Connection

import app.registry  # noqa: F401 - maps the tables of all features
from alembic import context
from app.core.db import HISTORY_TABLE, Base, is_partition, migration_connection, record_step
from app.core.errors import ConfigurationError
from app.settings import Settings


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transaction_per_migration=True,
        compare_server_default=True,
        include_name=lambda name, kind, _: (
            kind != "table" or not (name == HISTORY_TABLE or is_partition(name))
        ),
        on_version_apply=record_step,
    )
    with context.begin_transaction():
        context.run_migrations()


def write_sql() -> None:
    """``alembic upgrade head --sql``: print instead of connecting."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=Base.metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_migrate() -> None:
    url = Settings().postgres_url
    if url is None:
        raise ConfigurationError("DATABASE_URL is not set")
    async with migration_connection(url) as connection:
        await connection.run_sync(migrate)


def run() -> None:
    handed_over: Connection | None = context.config.attributes.get("connection")
    if handed_over is not None:
        migrate(handed_over)
        return
    if context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    if context.is_offline_mode():
        write_sql()
    else:
        asyncio.run(connect_and_migrate())


run()
