"""What must be looked after: sessions and users that were over long ago, and tokens that may no longer be told."""

from datetime import UTC, datetime, timedelta

from app.builtin.accounts.repository import DeletedUserRepository, SessionRepository
from app.builtin.accounts.service.epochs import LONGEST_TOKEN_S
from app.builtin.accounts.service.lifetimes import Lifetimes
from app.core.db import Database, get_db_context
from app.core.resilience import Clock

_SESSIONS_AT_ONCE = 100  # each may have thousands of tokens


class SessionUpkeep:
    """Periodic work on sessions; each method is one run, and harmless when two processes do it at once."""

    def __init__(self, database: Database, lifetimes: Lifetimes, clock: Clock) -> None:
        self._database = database
        self._lifetimes = lifetimes
        self._clock = clock

    async def purge(self) -> int:
        """Delete sessions that nobody can refresh and whose access tokens are all over, with their refresh tokens; how many.

        Whether one was ended makes no difference: it was not used afterwards, and it must be named while its tokens could live.
        """
        idle = self._lifetimes.idle_since(self._now())
        before, gone = idle - timedelta(seconds=2 * LONGEST_TOKEN_S), 0
        while True:
            async with get_db_context(self._database) as db:
                some = await SessionRepository(db).purge(before, _SESSIONS_AT_ONCE)
            gone += some
            if some < _SESSIONS_AT_ONCE:
                return gone

    async def purge_deleted(self) -> int:
        """Forget users who were deleted so long ago that no token of theirs can live; how many."""
        before = self._now() - timedelta(seconds=2 * LONGEST_TOKEN_S)
        async with get_db_context(self._database) as db:
            return await DeletedUserRepository(db).purge(before)

    async def forget_successors(self) -> int:
        """Clear the successors of tokens whose grace time is over; how many."""
        before = self._now() - timedelta(seconds=self._lifetimes.grace_s)
        async with get_db_context(self._database) as db:
            return await SessionRepository(db).forget_successors(before)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
