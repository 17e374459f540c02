"""A user who knows his password chooses another one."""

from app.builtin.accounts.service.new_password import NewPassword
from app.builtin.accounts.service.password_proof import PasswordProof
from app.builtin.accounts.service.passwords import check_password
from app.core.context import Principal
from app.core.db import AsyncSession
from app.core.security import PasswordHasher


class PasswordChange:
    """In the request's database session."""

    def __init__(self, *, proof: PasswordProof, passwords: PasswordHasher, new: NewPassword) -> None:
        self._proof = proof
        self._passwords = passwords
        self._new = new

    async def change(self, db: AsyncSession, caller: Principal, current: str, new: str) -> None:
        """Set ``new`` and end every session of the caller, this one too.

        Raises ``UnfitPassword`` (422), and what ``PasswordProof`` and ``NewPassword`` raise (400, 401, 403, 429, 503).
        """
        proven = await self._proof.prove(db, caller, current)
        check_password(new, email=proven.user.email)
        hashed = await self._passwords.hash_async(new)
        user = await self._proof.lock(db, proven)
        await self._new.give(db, user, hashed, "password.changed")
