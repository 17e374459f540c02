"""Reads and writes second factors, recovery codes, and sign-ins that wait."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import MfaChallenge, MfaFactor, RecoveryCode
from app.core.db import translate_errors

_PURGED_AT_ONCE = 100


class MfaRepository:
    """Second factors in one database session. Nothing is committed but by ``keep``."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def factor(self, user_id: UUID) -> MfaFactor | None:
        """The user's factor as it is now, confirmed or not, without its secret."""
        query = select(MfaFactor).where(MfaFactor.user_id == user_id)
        with translate_errors():
            return await self._session.scalar(query, execution_options={"populate_existing": True})

    async def secret(self, user_id: UUID) -> str | None:
        """What the user's app shares with us. Raises DecryptionFailed without its key."""
        with translate_errors():
            return await self._session.scalar(select(MfaFactor.secret).where(MfaFactor.user_id == user_id))

    async def begin(self, user_id: UUID, secret: str, now: datetime) -> None:
        """A factor that is not confirmed, in place of whatever factor the user had."""
        with translate_errors():
            await self._session.execute(delete(MfaFactor).where(MfaFactor.user_id == user_id))
            self._session.add(MfaFactor(user_id=user_id, secret=secret, begun_at=now))
            await self._session.flush()

    async def spend_step(self, user_id: UUID, step: int) -> bool:
        """Take this time step, if no such or newer one was taken; of several who try at once one does."""
        taken = (
            update(MfaFactor)
            .where(MfaFactor.user_id == user_id, MfaFactor.last_step < step)
            .values(last_step=step, failures=0, failed_at=None)
            .returning(MfaFactor.user_id)
        )
        with translate_errors():
            return await self._session.scalar(taken) is not None

    async def confirm(self, user_id: UUID, now: datetime) -> None:
        """From now on the factor is asked for."""
        with translate_errors():
            await self._session.execute(
                update(MfaFactor).where(MfaFactor.user_id == user_id).values(confirmed_at=now)
            )

    async def count_failure(self, user_id: UUID, failures: int, now: datetime) -> None:
        """Write down how many codes were wrong."""
        counted = update(MfaFactor).where(MfaFactor.user_id == user_id)
        with translate_errors():
            await self._session.execute(counted.values(failures=failures, failed_at=now))

    async def remove(self, user_id: UUID) -> bool:
        """Delete the user's factor with all that belongs to it; whether it was confirmed."""
        with translate_errors():
            for kind in (MfaChallenge, RecoveryCode):
                await self._session.execute(delete(kind).where(kind.user_id == user_id))
            gone = delete(MfaFactor).where(MfaFactor.user_id == user_id).returning(MfaFactor.confirmed_at)
            return await self._session.scalar(gone) is not None

    async def replace_codes(self, user_id: UUID, hashes: Iterable[bytes]) -> None:
        """These are the user's recovery codes from now on, and no others."""
        with translate_errors():
            await self._session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
            self._session.add_all([RecoveryCode(user_id=user_id, hash=one) for one in hashes])
            await self._session.flush()

    async def spend_code(self, user_id: UUID, hashed: bytes, now: datetime) -> bool:
        """Use up this code of the user, if he has it and it is not used; of several who try at once one does."""
        spent = (
            update(RecoveryCode)
            .where(
                RecoveryCode.user_id == user_id, RecoveryCode.hash == hashed, RecoveryCode.used_at.is_(None)
            )
            .values(used_at=now)
            .returning(RecoveryCode.user_id)
        )
        with translate_errors():
            return await self._session.scalar(spent) is not None

    async def codes_left(self, user_id: UUID) -> int:
        """How many recovery codes of the user are not used."""
        unused = select(func.count()).select_from(RecoveryCode)
        with translate_errors():
            query = unused.where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
            return await self._session.scalar(query) or 0

    async def add_challenge(self, challenge: MfaChallenge) -> None:
        """Insert, and delete some that expired before this one began."""
        expired = (
            select(MfaChallenge.hash)
            .where(MfaChallenge.expires_at < challenge.created_at)
            .limit(_PURGED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        with translate_errors():
            await self._session.execute(delete(MfaChallenge).where(MfaChallenge.hash.in_(expired)))
            self._session.add(challenge)
            await self._session.flush()

    async def challenger(self, hashed: bytes) -> UUID | None:
        """Whose sign-in waits under this token."""
        with translate_errors():
            return await self._session.scalar(select(MfaChallenge.user_id).where(MfaChallenge.hash == hashed))

    async def lock_challenge(self, hashed: bytes) -> MfaChallenge | None:
        """The sign-in that waits under this token, as it is now; others who want it wait until we are done."""
        query = select(MfaChallenge).where(MfaChallenge.hash == hashed).with_for_update()
        with translate_errors():
            return await self._session.scalar(query, execution_options={"populate_existing": True})

    async def end_challenge(self, challenge: MfaChallenge) -> None:
        """Delete it."""
        with translate_errors():
            await self._session.delete(challenge)
            await self._session.flush()

    async def keep(self) -> None:
        """Commit now, because the answer will be a refusal, which rolls back: what was tried must stay counted all the same."""
        with translate_errors():
            await self._session.commit()
