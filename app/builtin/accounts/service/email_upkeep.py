"""What must be looked after: links that nobody can use any more."""

from datetime import UTC, datetime

from app.builtin.accounts.repository import EmailTokenRepository
from app.core.db import Database, get_db_context
from app.core.resilience import Clock


class EmailTokenUpkeep:
    """Periodic work on the tokens of e-mails; harmless when two processes do it at once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def purge(self) -> int:
        """Delete tokens whose time is over; how many."""
        async with get_db_context(self._database) as db:
            return await EmailTokenRepository(db).purge(datetime.fromtimestamp(self._clock.time(), UTC))
