"""Checks a second factor, whoever asks: single use, and the limit of wrong codes over all sign-ins."""

from datetime import UTC, datetime, timedelta
from math import ceil
from uuid import UUID

from app.builtin.accounts.models import MfaFactor, User
from app.builtin.accounts.repository import MfaRepository
from app.builtin.accounts.schemas import MfaProof
from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.mfa_codes import hash_of_recovery, step_of
from app.builtin.accounts.service.mfa_errors import TooManyCodes
from app.core.db import AsyncSession
from app.core.errors import Unavailable
from app.core.resilience import Clock, doubled_pause
from app.core.security import DecryptionFailed

FREE_FAILURES = 5
"""Wrong codes in a row before the next one has to wait."""
_FIRST_DELAY_S, _LONGEST_DELAY_S = 30, 900
_FORGOTTEN_S = 86_400
OTP_METHODS, RECOVERY_METHODS = ("otp", "mfa"), ("mfa",)
"""What ``amr`` says of a session after each (RFC 8176)."""


def delay_s(failures: int) -> int:
    """Seconds to wait after so many wrong codes in a row: none, then 30, doubled with each, at most 900.

    The delay ends by itself, recovery codes pass it, and only who has the password can cause it: its owner is not locked out for good.
    """
    if failures < FREE_FAILURES:
        return 0
    return int(doubled_pause(_FIRST_DELAY_S, failures - FREE_FAILURES, _LONGEST_DELAY_S))


class SecondFactor:
    """Users' second factors. The caller has locked the user's row, so that those who check at once wait for each other."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    async def is_on(self, db: AsyncSession, user_id: UUID) -> bool:
        """Whether the user has a factor that he confirmed."""
        factor = await MfaRepository(db).factor(user_id)
        return factor is not None and factor.confirmed_at is not None

    async def accepts(self, db: AsyncSession, user: User, proof: MfaProof) -> tuple[str, ...] | None:
        """How the user has proved himself by ``proof``, which is used up by that; None when it is wrong.

        Wrong codes are not counted here: see ``count_failure``. Raises Unavailable (503) where the secret cannot be decrypted.
        """
        if proof.recovery_code is not None:
            spent = await self._spend_code(db, user, proof.recovery_code.get_secret_value())
            return RECOVERY_METHODS if spent else None
        factor = await MfaRepository(db).factor(user.id)
        if factor is None or proof.code is None:
            return None
        spent = await self.spend_totp(db, factor, proof.code.get_secret_value())
        return OTP_METHODS if spent else None

    async def spend_totp(self, db: AsyncSession, factor: MfaFactor, code: str) -> bool:
        """Whether the code is right and was not used; then it is used, and no earlier one is good any more."""
        rows = MfaRepository(db)
        try:
            secret = await rows.secret(factor.user_id)
        except DecryptionFailed:
            # Keys are being changed, and this process lacks the new one: nobody's code is wrong.
            raise Unavailable("Codes cannot be checked here now.") from None
        if secret is None:
            return False
        step = step_of(secret, code, self._clock.time(), after=factor.last_step)
        return step is not None and await rows.spend_step(factor.user_id, step)

    async def refuse_hasty(self, db: AsyncSession, user_id: UUID) -> None:
        """Raises ``TooManyCodes`` (429) while the user's wrong codes must be waited for."""
        factor = await MfaRepository(db).factor(user_id)
        if factor is None or factor.failed_at is None:
            return
        until = factor.failed_at + timedelta(seconds=delay_s(factor.failures))
        left = (until - self._now()).total_seconds()
        if left > 0:
            raise TooManyCodes(ceil(left))

    async def count_failure(self, db: AsyncSession, user_id: UUID) -> None:
        """One more wrong code. After a day without one the count begins anew."""
        rows, now = MfaRepository(db), self._now()
        factor = await rows.factor(user_id)
        if factor is None:
            return
        is_old = factor.failed_at is not None and now - factor.failed_at > timedelta(seconds=_FORGOTTEN_S)
        await rows.count_failure(user_id, 1 if is_old else factor.failures + 1, now)

    async def _spend_code(self, db: AsyncSession, user: User, code: str) -> bool:
        rows = MfaRepository(db)
        if not await rows.spend_code(user.id, hash_of_recovery(user.id, code), self._now()):
            return False
        await self._audit.record(db, "mfa.recovery_code_used", user.id, left=await rows.codes_left(user.id))
        return True

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
