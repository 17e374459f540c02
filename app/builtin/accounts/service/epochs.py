"""What ADMIT is told about an account: which of its tokens have ended before their time."""

from datetime import UTC, datetime
from uuid import UUID

from app.builtin.accounts.repository import read_epoch
from app.core.db import Database
from app.core.policies import Epoch, EpochSource
from app.core.resilience import Clock
from app.core.security import API_KEY_TTL_S

LONGEST_TOKEN_S = 86_400.0
"""No access token lives longer (see TokenService), so that a session which was last used longer ago need not be named."""
CLOCKS_DIFFER_S = 60.0
"""What the clocks of processes and servers may differ by."""
_KEYS_KNOWN_S = 10 * API_KEY_TTL_S
"""No process remembers an API key for that long without looking it up again."""


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
        found = await read_epoch(
            self._database, user_id, self._before(LONGEST_TOKEN_S), self._before(_KEYS_KNOWN_S)
        )
        return Epoch() if found is None else Epoch(*found)

    def _before(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(self._clock.time() - seconds - CLOCKS_DIFFER_S, UTC)
