"""Sessions: begun by a sign-in, kept going by refresh tokens that are exchanged one after the other."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NoReturn
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app.builtin.accounts.models import AuthSession, RefreshToken, User
from app.builtin.accounts.repository import SessionRepository, UserRepository
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.lifetimes import Lifetimes
from app.builtin.accounts.service.opaque_tokens import hash_of, new_token
from app.builtin.accounts.service.opened import Opened
from app.builtin.accounts.service.revocation import EndReason, Revocation
from app.builtin.accounts.service.rights import RightsDoNotFit, roles_in, scopes_in
from app.builtin.accounts.service.scopes import InvalidScope, asked_scopes
from app.core.db import AsyncSession
from app.core.errors import EntityNotFoundError, NotAuthenticated, PolicyRejected, Unavailable
from app.core.resilience import Clock
from app.core.security import DecryptionFailed, IssuedToken, TokenService

_PREFIX = "rt_"
_log = structlog.get_logger(__name__)


class BadRefreshToken(NotAuthenticated):
    """No session goes on with this token: it is unknown, used, or its session is over. Which of these is not told."""

    def __init__(self) -> None:
        super().__init__("This refresh token is not valid; sign in again.")
        self.extensions["error"] = "invalid_grant"


class RefreshedTooOften(PolicyRejected):
    """The session was refreshed as often in the last minute as it may be; its token stays good."""


class Sessions:
    """Begins and refreshes sessions, in the request's database session, which its route commits.

    A refresh token is good once. Tried again within ``Lifetimes.grace_s``, and before its successor was used, it answers with the same
    successor; tried later it is taken for stolen, and ends its session with all tokens of it (RFC 9700 section 4.14). Callers with one
    token at the same time wait for each other. Needs encryption keys, for the successor that may be asked for once more.

    ``mfa_roles``: roles that are in the tokens of sessions with a second factor only.
    """

    def __init__(
        self,
        *,
        tokens: TokenService,
        revocation: Revocation,
        lifetimes: Lifetimes,
        clock: Clock,
        mfa_roles: Collection[str] = (),
    ) -> None:
        self._tokens = tokens
        self._revocation = revocation
        self._lifetimes = lifetimes
        self._clock = clock
        self._audit = AuditLog(clock)
        self._mfa_roles = frozenset(mfa_roles)

    async def begin(
        self, db: AsyncSession, user: User, scopes: Iterable[str], *, methods: Sequence[str] = ("pwd",)
    ) -> Opened:
        """A new session of ``user``, who has just proved who he is by ``methods`` (RFC 8176).

        Raises ``RightsDoNotFit`` (409) when a token cannot carry his rights; ``refresh`` does too.
        """
        now, token = self._now(), new_token(_PREFIX)
        session = AuthSession(
            id=uuid7(),
            user_id=user.id,
            created_at=now,
            authenticated_at=now,
            methods=list(methods),
            scopes=sorted(scopes),
            expires_at=self._lifetimes.end_of(now),
            used_at=now,
        )
        await SessionRepository(db).add(session, _token_of(session, token, 0, now))
        return self._opened(user, session, frozenset(session.scopes), token, now)

    async def refresh(self, db: AsyncSession, token: str, scope: str = "") -> Opened:
        """New tokens for the session, with the user's roles as they are now, and those of its scopes that he still has.

        ``scope`` may narrow the access token further; the session keeps its scopes. Raises ``BadRefreshToken`` (401), ``InvalidScope``
        (400) for scopes that the session does not have, ``RefreshedTooOften`` (429), and StoreError (503) when a session must be ended
        and the store does not answer.
        """
        asked, presented = asked_scopes(scope), hash_of(token)
        rows = SessionRepository(db)
        # The user before his session, as whoever ends all his sessions does: two who lock in different orders would block each other.
        if (user := await UserRepository(db).lock_owner(presented)) is None:
            raise BadRefreshToken
        session = await rows.lock_of(presented)
        held = await rows.token(presented)
        now = self._now()
        if session is None or held is None or self._lifetimes.is_over(session, now):
            raise BadRefreshToken
        successor = None
        if held.used_at is not None:
            successor = await self._repeated(rows, held, held.used_at, now)
            if successor is None:
                await self._end(db, rows, session, "reuse")
        if not user.is_active:
            await self._end(db, rows, session, "inactive")
        granted = self._narrowed(asked, session, user)
        if successor is None:
            successor = await self._rotate(rows, session, held, now)
        session.used_at = now
        return self._opened(user, session, granted, successor, now)

    async def renew(
        self, db: AsyncSession, user: User, session_id: UUID, scopes: frozenset[str], methods: Sequence[str]
    ) -> IssuedToken:
        """An access token of the session, whose user, locked by the caller, has just proved who he is by ``methods`` too.

        ``scopes`` are those of the token that he presented; he gets those of them that are still his. Raises EntityNotFoundError for a
        session that is not his or is over.
        """
        now, session = self._now(), await SessionRepository(db).lock(user.id, session_id)
        if session is None or self._lifetimes.is_over(session, now):
            raise EntityNotFoundError("The caller has no such session.")
        session.authenticated_at = session.used_at = now
        session.methods = list(dict.fromkeys((*session.methods, *methods)))
        return self._access(user, session, self._narrowed(scopes, session, user))

    async def _repeated(
        self, rows: SessionRepository, held: RefreshToken, used_at: datetime, now: datetime
    ) -> str | None:
        if not self._lifetimes.may_repeat(used_at, now):
            return None
        try:
            return await rows.successor(held.hash)
        except DecryptionFailed:
            # Keys are being changed: another process has the key, and nobody has stolen anything.
            raise Unavailable("This refresh token cannot be exchanged here now.") from None

    async def _rotate(
        self, rows: SessionRepository, session: AuthSession, held: RefreshToken, now: datetime
    ) -> str:
        await self._require_rest(rows, session, held, now)
        token = new_token(_PREFIX)
        held.used_at, held.successor = now, token
        await rows.add(_token_of(session, token, held.generation + 1, now))
        await rows.forget_successor(session.id, held.generation - 1)
        return token

    async def _require_rest(
        self, rows: SessionRepository, session: AuthSession, held: RefreshToken, now: datetime
    ) -> None:
        """Each refresh writes a row that stays as long as its session. Exact, because the session is locked."""
        most = self._lifetimes.refreshes_per_minute
        if (first := held.generation + 1 - most) < 1:  # that of the sign-in is no refresh
            return
        begun = await rows.made_at(session.id, first)
        if begun is not None and (left := begun + timedelta(minutes=1) - now) > timedelta():
            raise RefreshedTooOften(
                f"A session can be refreshed {most} times a minute.",
                policy="auth_refresh",
                violated=("session",),
                retry_after=ceil(left.total_seconds()),
            )

    async def _end(
        self, db: AsyncSession, rows: SessionRepository, session: AuthSession, reason: EndReason
    ) -> NoReturn:
        """End the family for good, although the answer is a refusal."""
        if reason == "reuse":
            _log.warning("session.reuse_detected", session=str(session.id), user=str(session.user_id))
            await self._audit.record(db, "session.reuse_detected", session.user_id, session=str(session.id))
        await self._revocation.end_session(db, session.user_id, session.id, reason)
        await rows.keep()
        raise BadRefreshToken

    def _narrowed(self, asked: frozenset[str], session: AuthSession, user: User) -> frozenset[str]:
        if not asked <= frozenset(session.scopes):
            raise InvalidScope("A refresh gives no scope that was not granted at the sign-in.")
        has = scopes_in(session, user, roles_in(session, user, self._mfa_roles))
        if asked and not asked & has:
            raise InvalidScope("The user has none of the scopes that were asked for.")
        return asked & has if asked else has

    def _opened(
        self, user: User, session: AuthSession, scopes: frozenset[str], token: str, now: datetime
    ) -> Opened:
        access = self._access(user, session, scopes)
        return Opened(access, token, self._lifetimes.seconds_left(session, now))

    def _access(self, user: User, session: AuthSession, scopes: frozenset[str]) -> IssuedToken:
        roles = roles_in(session, user, self._mfa_roles)
        try:
            return self._tokens.issue(
                str(user.id),
                scopes=scopes & user.scopes_with(roles),
                roles=roles,
                session_id=str(session.id),
                methods=session.methods,
                authenticated_at=session.authenticated_at.timestamp(),
            )
        except ValueError as error:
            _log.error("session.rights_do_not_fit", user=str(user.id), reason=str(error))
            raise RightsDoNotFit from error

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def _token_of(session: AuthSession, token: str, generation: int, now: datetime) -> RefreshToken:
    return RefreshToken(hash=hash_of(token), session_id=session.id, generation=generation, created_at=now)
