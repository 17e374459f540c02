"""The second half of a sign-in: a right password waits for the second factor."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import structlog

from app.builtin.accounts.models import MfaChallenge, User
from app.builtin.accounts.repository import MfaRepository, UserRepository
from app.builtin.accounts.schemas import MfaProof
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.mfa_errors import BadMfaToken, BadProof, MfaRequired
from app.builtin.accounts.service.mfa_factor import SecondFactor
from app.builtin.accounts.service.opaque_tokens import hash_of, new_token
from app.builtin.accounts.service.opened import Opened
from app.builtin.accounts.service.sessions import Sessions
from app.core.db import AsyncSession
from app.core.resilience import Clock

TRIES = 5
CHALLENGE_S = 300
_PREFIX = "mfa_"
_log = structlog.get_logger(__name__)


class MfaSignIn:
    """Sign-ins that wait for a second factor, in the request's database session.

    A challenge has ``TRIES`` tries and ``CHALLENGE_S`` seconds and is good once. It ends earlier when its user is disabled, has another
    password, or all his tokens were ended since. Wrong codes also count over all challenges of a user (``SecondFactor.refuse_hasty``),
    because whoever has the password can begin as many as he likes.
    """

    def __init__(self, sessions: Sessions, factor: SecondFactor, audit: AuditLog, clock: Clock) -> None:
        self._sessions = sessions
        self._factor = factor
        self._audit = audit
        self._clock = clock

    async def require(self, db: AsyncSession, user: User, scopes: Iterable[str]) -> None:
        """Raises ``MfaRequired`` (401) for a user with a second factor, after what was written was committed: the sign-in waits.

        The user, whose row the caller has locked, has just shown his password; ``scopes`` are what he will be granted.
        """
        if not await self._factor.is_on(db, user.id):
            return
        token, now = new_token(_PREFIX), self._now()
        rows = MfaRepository(db)
        await rows.add_challenge(
            MfaChallenge(
                hash=hash_of(token),
                user_id=user.id,
                created_at=now,
                expires_at=now + timedelta(seconds=CHALLENGE_S),
                scopes=sorted(scopes),
                password_mark=_mark(user),
            )
        )
        await rows.keep()
        raise MfaRequired(token, CHALLENGE_S)

    async def redeem(self, db: AsyncSession, mfa_token: str, proof: MfaProof) -> Opened:
        """A session of the user whose sign-in waits under ``mfa_token``.

        Raises ``BadMfaToken`` (401), ``BadProof`` (401), ``TooManyCodes`` (429, and no try is spent), Unavailable (503).
        """
        rows = MfaRepository(db)
        user, challenge = await self._waiting(db, mfa_token)
        if proof.code is not None:
            await self._factor.refuse_hasty(db, user.id)
        methods = await self._factor.accepts(db, user, proof)
        if methods is None:
            await self._refuse(db, challenge, is_guessable=proof.code is not None)
            raise BadProof
        await rows.end_challenge(challenge)
        return await self._sessions.begin(db, user, challenge.scopes, methods=("pwd", *methods))

    async def _waiting(self, db: AsyncSession, mfa_token: str) -> tuple[User, MfaChallenge]:
        rows, hashed = MfaRepository(db), hash_of(mfa_token)
        owner = await rows.challenger(hashed)
        # The user before what is his, as everywhere: two who lock in different orders would block each other.
        user = await UserRepository(db).lock(owner) if owner is not None else None
        challenge = await rows.lock_challenge(hashed) if user is not None else None
        if user is None or challenge is None or not self._is_good(user, challenge):
            raise BadMfaToken
        return user, challenge

    def _is_good(self, user: User, challenge: MfaChallenge) -> bool:
        has_changed = challenge.password_mark != _mark(user) or (
            user.tokens_since is not None and user.tokens_since > challenge.created_at
        )
        is_over = challenge.expires_at <= self._now() or challenge.tries >= TRIES
        return user.is_active and not has_changed and not is_over

    async def _refuse(self, db: AsyncSession, challenge: MfaChallenge, *, is_guessable: bool) -> None:
        """Count the try for good, although the answer is a refusal."""
        rows, user_id = MfaRepository(db), challenge.user_id
        challenge.tries += 1
        if is_guessable:
            await self._factor.count_failure(db, user_id)
        if challenge.tries >= TRIES:
            _log.warning("mfa.challenge_used_up", user=str(user_id))
            await self._audit.record(db, "mfa.challenge_used_up", user_id, tries=challenge.tries)
        await rows.keep()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def _mark(user: User) -> bytes:
    return sha256(user.password_hash.encode()).digest()
