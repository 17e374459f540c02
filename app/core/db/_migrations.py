"""The schema's versions: bring a database to one, and tell whether it is there.

Each migration is a transaction of its own. Two starters at once are fine: one migrates, the other waits and
then finds nothing to do. A migration that cannot get a table's lock in ten seconds gives up instead of
queueing all traffic behind itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TextIO
from weakref import WeakSet

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from alembic import command
from app.core.db._database import Database, connect_driver
from app.core.db._errors import UNDEFINED_TABLE, DatabaseFault, DatabaseTimeout, sqlstate_of, translate_errors
from app.core.db._url import parse_url
from app.core.errors import ConfigurationError

MIGRATIONS = Path(__file__).resolve().parents[3] / "alembic"
_LOCK = 7_203_110_465  # An arbitrary number that only this project takes.
_WAIT_FOR_STARTER_S = 600
_ASK_AGAIN_S = 0.1
_LET_GO = "SET LOCAL lock_timeout = '600s'"
# Those that the server has: the last one is there since PostgreSQL 17.
_NO_LIMITS = text(
    "SELECT set_config(name, '0', :is_local) FROM pg_settings "
    "WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"
)
_WAIT_FOR_TABLE_S = 10
_LONGEST_MESSAGE = 200
_current: WeakSet[Database] = WeakSet()


class MigrationFailed(DatabaseFault):
    """PostgreSQL refused a migration; the detail says what it said, without the rows that it names. Those before it stay."""


async def upgrade(url: str, revision: str = "head") -> None:
    """Apply every migration up to ``revision`` that is missing.

    Connect directly, not through a transaction pooler. Raises a ``DatabaseError`` when there is no connection
    or another starter holds the lock for ten minutes, ``ConfigurationError`` for a revision that cannot be
    reached from where the database is, and ``MigrationFailed`` (a ``DatabaseError``) when PostgreSQL refuses one.
    """
    check_revision(revision)
    try:
        await run_command(url, lambda config: command.upgrade(config, revision))
    except CommandError as error:
        said = str(error)[:_LONGEST_MESSAGE]
        raise ConfigurationError(f"The schema cannot be brought to {revision[:64]!r}: {said}") from error
    except DBAPIError as error:
        # Not the error's own text, which has the statement, and a DETAIL with rows.
        driver = error.driver_exception
        reason = str(getattr(driver, "message", None) or type(driver).__name__)[:_LONGEST_MESSAGE]
        raise MigrationFailed(f"A migration failed, and nothing of it was kept: {reason}") from error


def check_revision(revision: str) -> None:
    """Raises ConfigurationError for what cannot be the name of one."""
    if not revision.strip() or not revision.isprintable() or ":" in revision:
        raise ConfigurationError("A revision is the name of a migration, or head.")


async def run_command(url: str, work: Callable[[Config], object], *, folder: Path = MIGRATIONS) -> None:
    """Run one of alembic's commands on the migrations of ``folder``; it takes its connection from ``config.attributes``.

    No other starter migrates meanwhile. Raises a ``DatabaseError`` as ``upgrade`` does, and what the command raises.
    """

    def run(connection: Connection) -> None:
        config = alembic_config(folder)
        config.attributes["connection"] = connection
        work(config)

    async with migration_connection(url) as connection:
        await connection.run_sync(run)


@asynccontextmanager
async def migration_connection(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection on which to migrate, while no other starter does.

    The lock lives in the open transaction of a second connection: the first one commits once for each
    migration, and a lock of the session would stay behind in a pooler. Limits that the role or the database has
    for statements and transactions do not count: they would end a long migration, or its lock, in the middle.
    """
    target = parse_url(url)
    options = {
        "application_name": "gatehouse-migrations",
        "lock_timeout": str(round(_WAIT_FOR_TABLE_S * 1000)),
        # From the first word on, and not only when _NO_LIMITS has been said; an older server would not know transaction_timeout here.
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
    }
    arguments = target.connect_args() | ({} if target.through_pooler else {"server_settings": options})
    engine = create_async_engine(
        target.engine_url, poolclass=NullPool, connect_args={"async_creator_fn": connect_driver, **arguments}
    )
    try:
        async with engine.connect() as lock, engine.connect() as connection:
            await _be_the_only_one(lock)
            if not target.through_pooler:  # where it would stay with the server's session
                await connection.execute(_NO_LIMITS, {"is_local": False})
                await connection.commit()
            yield connection
    finally:
        await engine.dispose()


async def _be_the_only_one(lock: AsyncConnection) -> None:
    """Ask again and again, each time in a transaction of its own, instead of waiting inside a statement.

    CREATE INDEX CONCURRENTLY of the one who has the lock waits for the end of every transaction that had a snapshot when it looked: it
    would wait for us, and we for him.
    """
    try:
        async with asyncio.timeout(_WAIT_FOR_STARTER_S):
            while not await lock.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}):
                await lock.rollback()
                await asyncio.sleep(_ASK_AGAIN_S)
            await lock.execute(_NO_LIMITS, {"is_local": True})
            # A SELECT's portal keeps its snapshot until the next statement; this one has none.
            await lock.execute(text(_LET_GO))
    except TimeoutError:
        raise DatabaseTimeout(
            f"Another starter has been migrating for {_WAIT_FOR_STARTER_S} seconds"
        ) from None


def alembic_config(folder: Path = MIGRATIONS, output: TextIO | None = None) -> Config:
    """Alembic's settings for this checkout, or for another folder of migrations; they hold no URL. ``output``: where printed SQL goes."""
    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


async def current_heads(database: Database) -> frozenset[str]:
    """The versions that the database says it is at; empty before the first migration. Raises a DatabaseError."""
    with translate_errors():
        try:
            async with database.session() as session:
                return frozenset(await session.scalars(text("SELECT version_num FROM alembic_version")))
        except ProgrammingError as error:
            if sqlstate_of(error) == UNDEFINED_TABLE:
                return frozenset()
            raise


async def pending(database: Database) -> list[str]:
    """Migrations that this checkout has and the database lacks, oldest first.

    A version that we do not know means that a newer release has migrated already: nothing is pending then.
    Raises a DatabaseError, and ConfigurationError when the database names several versions that exclude each other.
    """
    applied = await current_heads(database)
    script = _script()
    known = {revision.revision for revision in script.walk_revisions()}
    if applied - known:
        return []
    try:
        steps = list(script.iterate_revisions("heads", tuple(applied) or "base"))
    except (RevisionError, CommandError) as error:
        told = ", ".join(sorted(applied))
        raise ConfigurationError(f"The database says that it is at {told}, which cannot be") from error
    return [step.revision for step in steps][::-1]


async def is_at_head(database: Database) -> bool:
    """Whether nothing is pending.

    A yes is remembered, because this process will never need more; a no is asked again.
    """
    if database not in _current:
        if await pending(database):
            return False
        _current.add(database)
    return True


@cache
def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config())
