"""What ADMIT is told about an account: which of its tokens have ended before their time."""

from datetime import UTC, datetime
from uuid import UUID

from app.builtin.accounts.repository import read_epoch
from app.core.db import Database
from app.core.policies import Epoch, EpochSource
from app.core.resilience import Clock

LONGEST_TOKEN_S = 86_400.0
"""No access token lives longer (see TokenService), so that a session which was last used longer ago need not be named."""
CLOCKS_DIFFER_S = 60.0
"""What the clocks of processes and servers may differ by."""


class AccountEpochs(EpochSource):
    """Reads them from the tables of accounts. Owners who are no users of ours have the empty one."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def epoch_of(self, account: str) -> Epoch:
        """The account's. Raises a DatabaseError (503)."""
        try:
            user_id = UUID(account)
        except ValueError:
            return Epoch()
        used_after = self._clock.time() - LONGEST_TOKEN_S - CLOCKS_DIFFER_S
        found = await read_epoch(self._database, user_id, datetime.fromtimestamp(used_after, UTC))
        return Epoch() if found is None else Epoch(*found)
