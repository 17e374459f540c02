"""What a caller may do with his second factor: see it, set it up, take it away."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from app.builtin.accounts.models import AuthSession, User
from app.builtin.accounts.repository import MfaRepository, SessionRepository, UserRepository
from app.builtin.accounts.schemas import MfaEnrolment, MfaStatus
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.mfa_codes import (
    hash_of_recovery,
    new_recovery_codes,
    new_secret,
    otpauth_uri,
    qr_svg,
)
from app.builtin.accounts.service.mfa_errors import BadProof
from app.builtin.accounts.service.mfa_factor import OTP_METHODS, SecondFactor
from app.builtin.accounts.service.mfa_step_up import locked_user, session_of
from app.builtin.accounts.service.revocation import Revocation
from app.builtin.accounts.service.sessions import Sessions
from app.builtin.accounts.service.sign_in import current_user
from app.core.context import Principal
from app.core.db import AsyncSession
from app.core.errors import Conflict, EntityNotFoundError
from app.core.resilience import Clock
from app.core.security import IssuedToken

ENROLMENT_S = 600


class Enabled(NamedTuple):
    """A second factor that has just been switched on: a token that says so, and the recovery codes, shown once."""

    access: IssuedToken
    recovery_codes: Sequence[str]

    def __repr__(self) -> str:
        return "Enabled(...)"


class MfaDesk:
    """Requests about the caller's own second factor, in the request's database session.

    Every method but ``status`` raises EntityNotFoundError (404) for a token of no session here, because the other sessions end and this
    one stays; all raise InvalidToken (401) for a caller who is no user any more, and those that end sessions StoreError (503), when the
    store does not answer and nothing has changed. How recent the caller's sign-in must be is for the route's gate.
    """

    def __init__(
        self,
        *,
        factor: SecondFactor,
        sessions: Sessions,
        revocation: Revocation,
        audit: AuditLog,
        clock: Clock,
        issuer: str,
    ) -> None:
        self._factor = factor
        self._sessions = sessions
        self._revocation = revocation
        self._audit = audit
        self._clock = clock
        self._issuer = issuer

    async def status(self, db: AsyncSession, caller: Principal) -> MfaStatus:
        """Whether it is on."""
        user, rows = await current_user(UserRepository(db), caller), MfaRepository(db)
        factor = await rows.factor(user.id)
        since = factor.confirmed_at if factor is not None else None
        left = await rows.codes_left(user.id)
        return MfaStatus(enabled=since is not None, since=since, recovery_codes_left=left)

    async def begin(self, db: AsyncSession, caller: Principal) -> MfaEnrolment:
        """A new secret, to be confirmed within ``ENROLMENT_S`` seconds; an earlier one that was not confirmed is over.

        Raises Conflict (409) when the caller has a factor already.
        """
        user, _ = await self._owner(db, caller)
        if await self._factor.is_on(db, user.id):
            raise Conflict("There is a second factor already; disable it first.")
        secret = new_secret()
        await MfaRepository(db).begin(user.id, secret, self._now())
        uri = otpauth_uri(secret, user.email, self._issuer)
        return MfaEnrolment(secret=secret, uri=uri, qr_svg=qr_svg(uri), expires_in=ENROLMENT_S)

    async def confirm(self, db: AsyncSession, caller: Principal, code: str) -> Enabled:
        """The app works: the factor is on, the caller's session has it, and his other sessions end.

        Raises Conflict (409) when nothing was begun, or too long ago, or it is on already, and ``BadProof`` (401).
        """
        user, session = await self._owner(db, caller)
        rows, now = MfaRepository(db), self._now()
        factor = await rows.factor(user.id)
        if factor is None or factor.confirmed_at is not None:
            raise Conflict("There is no second factor to be confirmed; begin first.")
        if now - factor.begun_at > timedelta(seconds=ENROLMENT_S):
            raise Conflict("This was begun too long ago; begin again.")
        if not await self._factor.spend_totp(db, factor, code):
            raise BadProof
        await rows.confirm(user.id, now)
        codes = await self._new_codes(db, user.id)
        await self._audit.record(db, "mfa.enabled", user.id)
        await self._revocation.end_other_sessions(db, user.id, session.id, "mfa_changed")
        return Enabled(await self._sessions.renew(db, user, session.id, caller.scopes, OTP_METHODS), codes)

    async def disable(self, db: AsyncSession, caller: Principal) -> None:
        """The factor is off, with its recovery codes; the caller's other sessions end, and his own has no second factor from now on.

        Raises EntityNotFoundError (404) when it is not on.
        """
        user, session = await self._owner(db, caller)
        if not await MfaRepository(db).remove(user.id):
            raise EntityNotFoundError("The caller has no second factor.")
        session.methods = ["pwd"]
        await self._audit.record(db, "mfa.disabled", user.id)
        await self._revocation.end_other_sessions(db, user.id, session.id, "mfa_changed")

    async def replace_codes(self, db: AsyncSession, caller: Principal) -> Sequence[str]:
        """New recovery codes; the old ones are over. Raises EntityNotFoundError (404) for a caller without a second factor."""
        user, _ = await self._owner(db, caller)
        if not await self._factor.is_on(db, user.id):
            raise EntityNotFoundError("The caller has no second factor.")
        codes = await self._new_codes(db, user.id)
        await self._audit.record(db, "mfa.recovery_codes_replaced", user.id)
        return codes

    async def _new_codes(self, db: AsyncSession, user_id: UUID) -> Sequence[str]:
        codes = new_recovery_codes()
        await MfaRepository(db).replace_codes(user_id, [hash_of_recovery(user_id, code) for code in codes])
        return codes

    async def _owner(self, db: AsyncSession, caller: Principal) -> tuple[User, AuthSession]:
        """The caller and his session, both locked, so that those who change his factor at once wait for each other."""
        user = await locked_user(db, caller)
        session = await SessionRepository(db).lock(user.id, session_of(caller))
        if session is None or session.ended_at is not None:
            raise EntityNotFoundError("The caller has no such session.")
        return user, session

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


async def reset_mfa(db: AsyncSession, revocation: Revocation, audit: AuditLog, user_id: UUID) -> bool:
    """Take a user's second factor away, for one who lost it with his recovery codes; all his sessions end. Whether he had one.

    For operators and administrators, who must know by other means that he is who he says. Raises StoreError (503) when the store does not
    answer, and nothing has changed then.
    """
    if await UserRepository(db).lock(user_id) is None or not await MfaRepository(db).remove(user_id):
        return False
    await audit.record(db, "mfa.reset", user_id)
    await revocation.end_all_sessions(db, user_id, "mfa_changed")
    return True
