"""API keys that have been over for long."""

from datetime import UTC, datetime, timedelta

from app.builtin.accounts.repository import ApiKeyRepository
from app.core.db import Database, get_db_context
from app.core.resilience import Clock

KEEP_DAYS, KEEP_SECRETS_DAYS = 30, 3
_AT_ONCE = 1000


class ApiKeyUpkeep:
    """Periodic work on API keys; each run is harmless when two processes do it at once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def purge(self) -> int:
        """Delete keys that ended or expired 30 days ago, and secrets that were replaced 3 days ago; how many keys.

        An ended secret must be named for a while to processes that remember it: that is long over by then.
        """
        now, gone = datetime.fromtimestamp(self._clock.time(), UTC), 0
        while True:
            async with get_db_context(self._database) as db:
                some = await ApiKeyRepository(db).purge(
                    keys_before=now - timedelta(days=KEEP_DAYS),
                    secrets_before=now - timedelta(days=KEEP_SECRETS_DAYS),
                    most=_AT_ONCE,
                )
            gone += some
            if some < _AT_ONCE:
                return gone
