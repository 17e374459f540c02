"""What a caller may see of his sessions, and end."""

from datetime import UTC, datetime
from uuid import UUID

from app.builtin.accounts.models import AuthSession
from app.builtin.accounts.repository import SessionRepository, UserRepository
from app.builtin.accounts.schemas import SessionOut, SessionPage, SessionQuery
from app.builtin.accounts.service.lifetimes import Lifetimes
from app.builtin.accounts.service.revocation import Revocation
from app.builtin.accounts.service.sign_in import current_user
from app.core.context import Principal
from app.core.db import AsyncSession
from app.core.errors import EntityNotFoundError
from app.core.resilience import Clock


class SessionDesk:
    """Requests about the caller's own sessions, in the request's database session.

    Every method raises ``InvalidToken`` (401) for a caller who is no user, or no longer; those that end something raise StoreError (503)
    when the store does not answer, and nothing has ended then.
    """

    def __init__(self, revocation: Revocation, lifetimes: Lifetimes, clock: Clock) -> None:
        self._revocation = revocation
        self._lifetimes = lifetimes
        self._clock = clock

    async def page(self, db: AsyncSession, caller: Principal, query: SessionQuery) -> SessionPage:
        """The sessions that can still be refreshed, newest first."""
        user = await current_user(UserRepository(db), caller)
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        found = await SessionRepository(db).active(
            user.id,
            now=now,
            used_after=self._lifetimes.idle_since(now),
            before=query.cursor,
            most=query.limit + 1,
        )
        items, more = found[: query.limit], len(found) > query.limit
        return SessionPage(
            items=[_shown(session, caller) for session in items],
            next_cursor=items[-1].id if more else None,
        )

    async def end(self, db: AsyncSession, caller: Principal, session_id: UUID) -> None:
        """End one of the caller's sessions. Raises EntityNotFoundError for one that is not his, or has ended."""
        user = await current_user(UserRepository(db), caller)
        if not await self._revocation.end_session(db, user.id, session_id, "removed"):
            raise EntityNotFoundError("The caller has no such session.")

    async def log_out(self, db: AsyncSession, caller: Principal, *, everywhere: bool) -> None:
        """End the session of the caller's token, or all that he has.

        Raises EntityNotFoundError for a token of no session of ours, whose issuer alone can end it.
        """
        user = await current_user(UserRepository(db), caller)
        if everywhere:
            await self._revocation.end_all_sessions(db, user.id, "logout_everywhere")
            return
        session_id = _session_of(caller)
        if session_id is None or not await self._revocation.end_session(db, user.id, session_id, "logout"):
            raise EntityNotFoundError("This token belongs to no session here.")


def _session_of(caller: Principal) -> UUID | None:
    try:
        return UUID(caller.session_id or "")
    except ValueError:
        return None


def _shown(session: AuthSession, caller: Principal) -> SessionOut:
    return SessionOut(
        id=session.id,
        is_current=str(session.id) == caller.session_id,
        authenticated_at=session.authenticated_at,
        used_at=session.used_at,
        expires_at=session.expires_at,
        methods=session.methods,
        scopes=session.scopes,
    )
