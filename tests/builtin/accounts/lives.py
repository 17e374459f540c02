"""What tests of the life of an account need: its services around ``Accounts``, and a mailer that keeps what it is given."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from app.builtin.accounts.models import User
from app.builtin.accounts.service import (
    AuditLog,
    DeviceTokens,
    EmailTokens,
    EmailTokenUpkeep,
    EmailVerification,
    KnownPlaces,
    Letters,
    MailTexts,
    NewPassword,
    PasswordChange,
    PasswordProof,
    PasswordReset,
    Registration,
    SignIn,
    SignInGuard,
    SignInLimits,
    TokenLives,
)
from app.core.context import Principal
from app.core.db import Database, after_commit_idle, get_db_context
from app.core.mail import Mail, Postman
from app.core.policies import Admitter, AttemptLimit, RateLimit
from app.core.security import PasswordHasher
from app.core.valkey import ValkeyClient
from tests.builtin.accounts.desks import Accounts

PASSWORD = "correct horse battery staple"
OTHER = "another long passphrase"
BASE = "https://app.example.com/account"
PER_ADDRESS, KEY = 3, b"a secret of these tests"
_LINK = re.compile(re.escape(BASE) + r"/([a-z-]+)#token=(et_[\w-]{43})\n")


class Outbox:
    """A mailer that keeps mails; with ``error`` it takes none."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.error: Exception | None = None

    async def send(self, mail: Mail) -> None:
        if self.error is not None:
            raise self.error
        self.mails.append(mail)

    def sent(self) -> list[tuple[str, str]]:
        """Kind and address of each."""
        return [(mail.kind, mail.to) for mail in self.mails]

    def token(self, to: str = "ann@example.com") -> str:
        """That of the newest link to this address."""
        found = [link for mail in self.mails if mail.to == to for link in _LINK.findall(mail.text)]
        return str(found[-1][1])


async def no_pause(_: float) -> None:
    return None


async def for_ever(_: float) -> None:
    await asyncio.Event().wait()


def limit_of(store: ValkeyClient, accounts: Accounts, name: str, most: int) -> AttemptLimit:
    limit = RateLimit.fixed_window(name, limit=most, window=31_000_000, on_store_down="closed")
    return AttemptLimit(Admitter(store, clock=accounts.clock), f"tests_{name}", limit, secret=b"x" * 32)


class Lives:
    """The services of the life of an account, with weak hashes."""

    def __init__(
        self,
        accounts: Accounts,
        store: ValkeyClient,
        hasher: PasswordHasher,
        *,
        database: Database | None = None,
        has_mail: bool = True,
        pause: Callable[[float], Awaitable[object]] = no_pause,
        verified_only: bool = False,
        **registration: Any,
    ) -> None:
        self.accounts = accounts
        self.hasher = hasher
        self.outbox = Outbox()
        self.postman = Postman(self.outbox, sleep=pause)
        self.tokens = EmailTokens(TokenLives(), accounts.clock)
        guard = SignInGuard(
            Admitter(store, clock=accounts.clock),
            KnownPlaces(store, secret=KEY, life_s=1_000, most=5),
            DeviceTokens(secret=KEY, life_s=1_000, clock=accounts.clock),
            SignInLimits(per_account=4, window_s=3_000_000, delay_after=1_000),
            secret=KEY,
        )
        limits = limit_of(store, accounts, "address", PER_ADDRESS)
        letters = Letters(self.postman if has_mail else None, MailTexts("Gatehouse", BASE), limits)
        audit = AuditLog(accounts.clock)
        proof = PasswordProof(passwords=hasher, guard=guard)
        new = NewPassword(revocation=accounts.revocation, tokens=self.tokens, audit=audit, letters=letters)
        stored: Any = {
            "database": database or accounts.database,
            "tokens": self.tokens,
            "letters": letters,
            "audit": audit,
        }
        self.changes = PasswordChange(proof=proof, passwords=hasher, new=new)
        self.resets = PasswordReset(**stored, passwords=hasher, new=new)
        self.verification = EmailVerification(**stored, proof=proof)
        options = {"enabled": True, "roles": (), "scopes": (), **registration}
        self.registration = Registration(**stored, **options, passwords=hasher)
        self.upkeep = EmailTokenUpkeep(accounts.database, accounts.clock)
        self.sign_in = SignIn(
            sessions=accounts.sessions, passwords=hasher, guard=guard, verified_only=verified_only
        )

    async def add(self, email: str = "ann@example.com", password: str = PASSWORD) -> User:
        user = await self.accounts.add_user(email)
        async with get_db_context(self.accounts.database) as db:
            user = await db.merge(user)
            user.password_hash = self.hasher.hash(password)
        return user

    async def signs_in(self, password: str, email: str = "ann@example.com") -> None:
        async with get_db_context(self.accounts.database) as db:
            await self.sign_in.with_password(db, email, password)

    async def change(self, user: User, current: str, new: str) -> None:
        async with get_db_context(self.accounts.database) as db:
            await self.changes.change(db, Principal(str(user.id)), current, new)

    async def reset(self, email: str = "ann@example.com") -> str:
        """A link to this address; its token."""
        await self.resets.request(email)
        await self.postman.idle()
        return self.outbox.token(email)

    async def confirm_reset(self, token: str, password: str = OTHER) -> None:
        async with get_db_context(self.accounts.database) as db:
            await self.resets.confirm(db, token, password)

    async def ask_verification(self, user: User) -> None:
        async with get_db_context(self.accounts.database) as db:
            await self.verification.request(db, Principal(str(user.id)))
        await self.settle()

    async def ask_change(self, user: User, email: str, password: str = PASSWORD) -> None:
        async with get_db_context(self.accounts.database) as db:
            await self.verification.request_change(db, Principal(str(user.id)), email, password)
        await self.settle()

    async def confirm_email(self, token: str) -> None:
        async with get_db_context(self.accounts.database) as db:
            await self.verification.confirm(db, token)
        await self.settle()

    async def register(self, email: str = "new@example.com") -> str:
        """A link to this address; its token."""
        await self.registration.request(email)
        await self.postman.idle()
        return self.outbox.token(email)

    async def confirm_registration(self, token: str, password: str = OTHER) -> None:
        async with get_db_context(self.accounts.database) as db:
            await self.registration.confirm(db, token, password)

    async def settle(self) -> None:
        """Until everything that follows a commit was done."""
        await after_commit_idle()
        await self.postman.idle()

    async def events(self) -> list[str]:
        """The audit log."""
        return [row[0] for row in await self.accounts.rows("SELECT event FROM audit_events ORDER BY id")]
