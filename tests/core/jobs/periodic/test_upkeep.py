from sqlalchemy import text

from app.core.db import Database
from app.core.jobs import upkeep


async def test_upkeep_makes_a_months_partition_that_is_missing(
    database: Database, clean_database: None
) -> None:
    (task,) = [task for task in upkeep(database) if task.name == "events_log.partitions"]
    newest = text(
        "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'events_log'::regclass"
    )
    async with database.connect() as connection:
        last = str(await connection.scalar(newest))
        await connection.execute(text(f"DROP TABLE {last}"))
        assert await connection.scalar(newest) != last
        await task.work()
        assert await connection.scalar(newest) == last
