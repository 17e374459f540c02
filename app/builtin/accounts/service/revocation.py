"""Ending sessions and tokens before their time, in the database and, before that is committed, in the store."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import structlog

from app.builtin.accounts.repository import SessionRepository, UserRepository
from app.core.db import AsyncSession, after_commit
from app.core.policies import EpochBook
from app.core.resilience import Clock

EndReason = Literal[
    "logout",
    "logout_everywhere",
    "removed",
    "reuse",
    "inactive",
    "password_changed",
    "rights_changed",
    "signed_out",
    "deleted",
    "mfa_changed",
]
_log = structlog.get_logger(__name__)


class Revocation:
    """Who is signed out. Every method writes into the caller's database session and tells the store before the caller commits.

    Raises StoreError (503) when the store does not answer, and the caller must then roll back: nobody is told that he is signed out
    while his tokens still work. If the commit fails instead, the tokens are refused for ``REVOCATION_GRACE_S`` although nothing has
    ended; a refresh gives new ones, unless their session was meant. The store is told once more after the commit, because what it was
    told before may have run out meanwhile and been read anew.

    ``ahead_s``: tokens end at the time of ``clock``, but not later than so many seconds after what the database's clock says. Without that
    limit a process whose clock is far ahead would lock out whoever it signs out, for no token issued before its time would count.
    """

    def __init__(self, book: EpochBook, clock: Clock, *, ahead_s: float | None = None) -> None:
        self._book = book
        self._clock = clock
        self._ahead = timedelta(seconds=ahead_s) if ahead_s is not None else None

    async def end_session(self, db: AsyncSession, user_id: UUID, session_id: UUID, reason: EndReason) -> bool:
        """End one session of the user and its access tokens; whether there was one that had not ended."""
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        ended = await SessionRepository(db).end(user_id, now, reason, only=session_id)
        if not ended:
            return False
        await self._tell(db, user_id, ended)
        _log.info("session.ended", session=str(session_id), user=str(user_id), reason=reason)
        return True

    async def end_other_sessions(self, db: AsyncSession, user_id: UUID, kept: UUID, reason: EndReason) -> int:
        """End every session of the user but ``kept``, with their access tokens; how many.

        For a change that its owner makes himself, in the session that goes on.
        """
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        ended = await SessionRepository(db).end(user_id, now, reason, besides=kept)
        if ended:
            await self._tell(db, user_id, ended)
        _log.info("session.others_ended", user=str(user_id), sessions=len(ended), reason=reason)
        return len(ended)

    async def end_all_sessions(self, db: AsyncSession, user_id: UUID, reason: EndReason) -> int:
        """End every session of the user and every access token he has, also those of no session; how many sessions.

        For whatever makes it doubtful that his clients are still his: a changed password, an account that was disabled.
        """
        since_ms = await self._end_tokens(db, user_id)
        if since_ms is None:
            return 0
        ended = await SessionRepository(db).end(user_id, _moment(since_ms), reason)
        await self._tell(db, user_id, ended, since_ms)
        _log.info("session.all_ended", user=str(user_id), sessions=len(ended), reason=reason)
        return len(ended)

    async def end_tokens(self, db: AsyncSession, user_id: UUID) -> bool:
        """End every access token the user has, and no session: a refresh gives him new ones; whether there is such a user.

        For whatever changes what he may do: the tokens that are out say what he might do before.
        """
        since_ms = await self._end_tokens(db, user_id)
        if since_ms is None:
            return False
        await self._tell(db, user_id, (), since_ms)
        _log.info("session.tokens_ended", user=str(user_id))
        return True

    async def _end_tokens(self, db: AsyncSession, user_id: UUID) -> int | None:
        users = UserRepository(db)
        if await users.lock(user_id) is None:
            return None
        # After the lock: whoever issued tokens meanwhile did so before this time. One more, for those of this millisecond.
        since_ms = int(self._clock.time() * 1000) + 1
        since = await users.end_tokens(user_id, _moment(since_ms), self._ahead)
        return round(since.timestamp() * 1000) if since is not None else None

    async def _tell(
        self, db: AsyncSession, user_id: UUID, ended: Iterable[UUID], since_ms: int | None = None
    ) -> None:
        account, sessions = str(user_id), [str(one) for one in ended]

        async def tell() -> None:
            await self._book.end_sessions(account, sessions)
            if since_ms is not None:
                await self._book.end_all(account, since_ms)

        await tell()
        after_commit(db, tell)


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
