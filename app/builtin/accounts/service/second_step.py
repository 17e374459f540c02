"""The end of a sign-in that needs more than a password, for those who only know that there may be one."""

from contextlib import suppress
from typing import Protocol

from pydantic import ValidationError

from app.builtin.accounts.schemas import MfaProof
from app.builtin.accounts.service.mfa_errors import BadProof
from app.builtin.accounts.service.mfa_sign_in import MfaSignIn
from app.builtin.accounts.service.opened import Opened
from app.core.db import AsyncSession


class SecondStep(Protocol):
    """Ends a sign-in that ``SignIn.with_password`` refused with ``error`` = ``mfa_required`` and an ``mfa_token``. Where nobody provides
    one, no sign-in needs it.
    """

    async def with_code(self, db: AsyncSession, mfa_token: str, code: str) -> Opened:
        """The session's tokens. Raises what says that the code or the token is wrong (401, 429)."""


class MfaSecondStep:
    """A code of the app or a recovery code, told apart by their forms."""

    def __init__(self, sign_in: MfaSignIn) -> None:
        self._sign_in = sign_in

    async def with_code(self, db: AsyncSession, mfa_token: str, code: str) -> Opened:
        """As ``MfaSignIn.redeem``; what has neither form is ``BadProof`` and no try."""
        return await self._sign_in.redeem(db, mfa_token, _proof_of(code))


def _proof_of(code: str) -> MfaProof:
    for name in ("code", "recovery_code"):
        with suppress(ValidationError):
            return MfaProof.model_validate({name: code})
    raise BadProof
