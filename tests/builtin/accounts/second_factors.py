"""A user with a second factor: what tests of it need, beside ``desks``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pyotp
from pydantic import SecretStr

from app.builtin.accounts.models import User
from app.builtin.accounts.schemas import MfaProof
from app.builtin.accounts.service import MfaRequired, Opened
from app.core.context import Principal
from app.core.db import get_db_context
from tests.builtin.accounts.desks import SCOPES, Accounts


def with_code(code: str) -> MfaProof:
    return MfaProof(code=SecretStr(code))


def with_recovery(code: str) -> MfaProof:
    return MfaProof(recovery_code=SecretStr(code))


@dataclass
class Protected:
    """A user whose second factor is on, signed in. His app's clock is that of the services, unless ``code`` is told another."""

    accounts: Accounts
    user: User
    secret: str
    recovery_codes: Sequence[str]
    caller: Principal

    @classmethod
    async def enrol(cls, accounts: Accounts, email: str = "ann@example.com") -> Self:
        """The clock has moved on one step, so that a code of now is new."""
        user = await accounts.add_user(email)
        caller = accounts.tokens.verify((await accounts.begin(user)).access.token)
        async with get_db_context(accounts.database) as db:
            begun = await accounts.mfa.begin(db, caller)
        code = pyotp.TOTP(begun.secret).at(int(accounts.clock.time()))
        async with get_db_context(accounts.database) as db:
            enabled = await accounts.mfa.confirm(db, caller, code)
        accounts.clock.advance(60)
        caller = accounts.tokens.verify(enabled.access.token)
        return cls(accounts, user, begun.secret, enabled.recovery_codes, caller)

    def code(self, steps: int = 0) -> str:
        """What the app shows, or showed or will show some steps from now."""
        return str(pyotp.TOTP(self.secret).at(int(self.accounts.clock.time()), counter_offset=steps))

    def wrong(self) -> str:
        """A code that is right at no time near."""
        near = {self.code(steps) for steps in range(-3, 4)}
        return next(
            code
            for code in ("000000", "111111", "222222", "333333", "444444", "555555", "666666")
            if code not in near
        )

    async def wait(self) -> str:
        """The token of a sign-in whose password was right."""
        async with get_db_context(self.accounts.database) as db:
            user = await db.get_one(User, self.user.id)
            try:
                await self.accounts.mfa_sign_in.require(db, user, SCOPES)
            except MfaRequired as waiting:
                return str(waiting.extensions["mfa_token"])
        raise AssertionError("the second factor was not asked for")

    async def redeem(self, token: str, proof: MfaProof) -> Opened:
        async with get_db_context(self.accounts.database) as db:
            return await self.accounts.mfa_sign_in.redeem(db, token, proof)
