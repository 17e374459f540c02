"""Sessions of people who look at pages, held by a cookie instead of tokens."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.builtin.accounts.models import AuthSession, PageSession, User
from app.builtin.accounts.repository import PageSessionRepository
from app.builtin.accounts.service.lifetimes import Lifetimes
from app.builtin.accounts.service.opaque_tokens import hash_of
from app.builtin.accounts.service.revocation import Revocation
from app.builtin.accounts.service.rights import roles_in, scopes_in
from app.core.context import Principal
from app.core.db import AsyncSession, Database, DatabaseTimeout, get_db_context
from app.core.errors import NotAuthenticated
from app.core.http import PageVerifier
from app.core.resilience import Clock, Places
from app.core.security import KeysNotLoaded

KEPT_S = 30.0
"""For so long the database is not asked again about a cookie. What ends meanwhile is ended by ADMIT, which is asked every time."""
_MOST = 1024
_USE_S = timedelta(seconds=60)
_AT_ONCE, _QUEUE = 2, 256


class NoPageSession(NotAuthenticated):
    """The cookie's session is over, or there never was one. Which of these is not told."""

    def __init__(self) -> None:
        super().__init__("Your session is over; sign in again.")


class PageSessionNotRead(KeysNotLoaded):
    """The cookie must be looked up first: await ``load``, then verify once more."""

    def __init__(self, sessions: "PageSessions", key: bytes) -> None:
        async def load() -> None:
            await sessions.look_up(key)

        super().__init__(load, retry_after=1)
        self.detail = "Your session cannot be looked up at present."


class PageSessions(PageVerifier):
    """Begins, finds and ends them. Each is a session like any other (``AuthSession``): it lives as long, is listed with the others, and
    ends with whatever ends those.

    ``token`` is the cookie's, of 256 random bits; the database has its SHA-256. The caller whom ``verify`` finds has the session's scopes
    as far as the user still has them, and the user's roles, as a refreshed token would; ``mfa_roles`` are as in ``Sessions``.

    Two are looked up at once, and nobody waits longer than ``wait_s`` seconds: a page asks for a session before its gate can limit it, and
    pages that refresh while the database stalls must not take the connections that the API lives on.
    """

    def __init__(
        self,
        database: Database,
        *,
        revocation: Revocation,
        lifetimes: Lifetimes,
        clock: Clock,
        mfa_roles: Collection[str] = (),
        wait_s: float = 3.0,
    ) -> None:
        self._wait_s = wait_s
        self._places = Places(_AT_ONCE, queue=_QUEUE)
        self._database = database
        self._revocation = revocation
        self._lifetimes = lifetimes
        self._clock = clock
        self._mfa_roles = frozenset(mfa_roles)
        self._kept: dict[bytes, Principal] = {}

    async def begin(self, db: AsyncSession, session_id: UUID, token: str) -> None:
        """The holder of ``token``, which nobody had before, holds this session from the caller's commit on."""
        row = PageSession(hash=hash_of(token), session_id=session_id, created_at=self._now())
        await PageSessionRepository(db).add(row)

    def verify(self, token: str) -> Principal:
        """Who holds it. Raises ``NoPageSession`` (401), ``PageSessionNotRead`` when it must be looked up first."""
        key = hash_of(token)
        found = self._kept.get(key)
        if found is None or found.expires_at <= self._clock.time():
            raise PageSessionNotRead(self, key)
        if not found.id:
            raise NoPageSession
        return found

    async def find(self, token: str) -> Principal | None:
        """Who holds it, as the database has it now; None when nobody does. Raises a DatabaseError (503)."""
        found = await self.look_up(hash_of(token), anew=True)
        return found if found.id else None

    async def end(self, db: AsyncSession, token: str) -> None:
        """End the session that it holds, if there is one. Raises StoreError (503) when the store does not answer."""
        session = await PageSessionRepository(db).session_of(hash_of(token))
        if session is not None:
            await self._revocation.end_session(db, session.user_id, session.id, "logout")

    async def look_up(self, key: bytes, *, anew: bool = False) -> Principal:
        """Ask the database, and keep what it says for ``KEPT_S`` seconds; a principal without an id stands for nobody.

        Who comes while it is asked about the same cookie takes that answer, unless he asks ``anew``. Raises a DatabaseError (503).
        """
        before = self._kept.get(key)
        try:
            async with asyncio.timeout(self._wait_s):
                if not await self._places.acquire(self._wait_s):
                    raise DatabaseTimeout
                try:
                    kept = None if anew else self._kept.get(key)
                    return kept if kept is not None and kept is not before else await self._ask(key)
                finally:
                    self._places.release()
        except TimeoutError as error:
            raise DatabaseTimeout from error

    async def _ask(self, key: bytes) -> Principal:
        async with get_db_context(self._database) as db:
            found = await self._read(db, key)
        if len(self._kept) >= _MOST:
            self._forget()
        self._kept[key] = found
        return found

    async def _read(self, db: AsyncSession, key: bytes) -> Principal:
        rows = PageSessionRepository(db)
        # Locked before the rest is read: whoever changes his rights or ends his sessions has done so by now, or waits and ends this too.
        user = await rows.lock_owner(key)
        session = await rows.session_of(key)
        now = self._now()
        if user is None or session is None or not user.is_active or self._lifetimes.is_over(session, now):
            return Principal("", expires_at=now.timestamp() + KEPT_S)
        if now - session.used_at > _USE_S:
            session.used_at = now
        return self._principal(user, session, now.timestamp())

    def _principal(self, user: User, session: AuthSession, now: float) -> Principal:
        roles = roles_in(session, user, self._mfa_roles)
        return Principal(
            str(user.id),
            scopes=scopes_in(session, user, roles),
            roles=frozenset(roles),
            session_id=str(session.id),
            issued_at=now,
            expires_at=min(now + KEPT_S, session.expires_at.timestamp()),
            authenticated_at=session.authenticated_at.timestamp(),
            methods=tuple(session.methods),
        )

    def _forget(self) -> None:
        """Make room: first what is no longer good, then the oldest half."""
        now = self._clock.time()
        self._kept = {key: kept for key, kept in self._kept.items() if kept.expires_at > now}
        if len(self._kept) >= _MOST:
            self._kept = dict(list(self._kept.items())[_MOST // 2 :])

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
