"""The end of a sign-in that needs more than a password, for those who only know that there may be one."""

from typing import Protocol

from app.builtin.accounts.service.opened import Opened
from app.core.db import AsyncSession


class SecondStep(Protocol):
    """Ends a sign-in that ``SignIn.with_password`` refused with ``error`` = ``mfa_required`` and an ``mfa_token``. Where nobody provides
    one, no sign-in needs it.
    """

    async def with_code(self, db: AsyncSession, mfa_token: str, code: str) -> Opened:
        """The session's tokens. Raises what says that the code or the token is wrong (401, 429)."""
