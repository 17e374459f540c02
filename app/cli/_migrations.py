"""Commands about the schema: what they do, without how they are asked."""

from app.cli._sessions import one_database
from app.core.db import HistoryEntry, MigrationDryRun, MigrationStatus, MigrationUtils
from app.core.errors import Unprocessable
from app.settings import Settings


async def status(settings: Settings) -> MigrationStatus:
    """What the database has and lacks. Raises a DatabaseError."""
    async with one_database(settings) as database:
        return await MigrationUtils(database).status()


async def history(settings: Settings) -> list[HistoryEntry]:
    """What was done to the schema. Raises a DatabaseError."""
    async with one_database(settings) as database:
        return await MigrationUtils(database).history()


async def dry_run(settings: Settings, revision: str) -> str:
    """The SQL of an upgrade, ending in a line break. Raises Unprocessable with what is in the way."""
    async with one_database(settings) as database:
        ok, sql = await MigrationDryRun.dry_run_upgrade(revision, database=database)
    if not ok:
        raise Unprocessable(sql)
    return f"{sql}\n" if sql else ""
