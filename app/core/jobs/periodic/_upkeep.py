"""What core's own tables need again and again."""

from app.core.db import Database, EventLog, get_db_context, keep_partitions, purge_results
from app.core.jobs.periodic._periodic import Periodic


def upkeep(database: Database) -> list[Periodic]:
    """Every minute the results of idempotent requests whose time is over go; every hour the events log gets its next months."""

    async def purge() -> None:
        async with get_db_context(database) as session:
            await purge_results(session)

    async def make_partitions() -> None:
        async with get_db_context(database) as session:
            await keep_partitions(session, EventLog.__tablename__)

    return [
        Periodic(name="idempotency.purge", every_s=60, work=purge),
        Periodic(name="events_log.partitions", every_s=3600, work=make_partitions),
    ]
