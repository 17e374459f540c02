"""Whether a session waits for a lock. In this database only: other test processes keep other sessions of the same server waiting."""

import asyncio

from sqlalchemy import text

from app.core.db import Database

# Not pg_stat_activity, which a transaction reads once.
WAITING = """
SELECT count(*) FROM pg_locks WHERE NOT granted
   AND pid IN (SELECT pid FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


async def until_a_session_waits(database: Database, within_s: float = 30.0) -> None:
    """Returns when one does. Raises TimeoutError."""
    query = text(WAITING)
    async with asyncio.timeout(within_s), database.connect() as connection:
        while not await connection.scalar(query):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.001)
