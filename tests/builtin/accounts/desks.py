"""What tests of sessions need: a user, and the services around his sessions, with a clock that is turned by hand."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from app.builtin.accounts.models import User
from app.builtin.accounts.service import (
    AccountEpochs,
    AuditLog,
    Lifetimes,
    MfaDesk,
    MfaSignIn,
    Opened,
    Revocation,
    SecondFactor,
    Sessions,
    SessionUpkeep,
)
from app.core.db import AsyncSession, Database, get_db_context
from app.core.policies import Admitter, Caller, EpochBook, Epochs, Plan, Verdict
from app.core.resilience import ManualClock
from app.core.security import IssuedToken, TokenKey, TokenService
from app.core.valkey import ValkeyClient

START = 1_800_000_000.0
LIFETIMES = Lifetimes(life_s=10_000, idle_s=1_000, grace_s=20)
SCOPES = ["read:records", "write:records"]
NO_STORE = "valkey://127.0.0.1:1"
_PLAN = Plan("tests", [])


class Accounts:
    """The services of accounts on one database and store."""

    def __init__(self, database: Database, store: ValkeyClient, clock: ManualClock | None = None) -> None:
        self.database = database
        self.clock = clock or ManualClock(start=START)
        key = TokenKey.from_secret("a-secret-of-these-tests-with-over-32-bytes")
        self.tokens = TokenService([key], issuer="i", audience="a", clock=self.clock)
        self.revocation = Revocation(EpochBook(store, grace_s=60), self.clock)
        self.sessions = Sessions(
            tokens=self.tokens,
            revocation=self.revocation,
            lifetimes=LIFETIMES,
            clock=self.clock,
            mfa_roles={"cpu_user"},
        )
        audit = AuditLog(self.clock)
        self.factor = SecondFactor(audit, self.clock)
        self.mfa_sign_in = MfaSignIn(self.sessions, self.factor, audit, self.clock)
        self.mfa = MfaDesk(
            factor=self.factor,
            sessions=self.sessions,
            revocation=self.revocation,
            audit=audit,
            clock=self.clock,
            issuer="Gate house",
        )
        self.audit = AuditLog(self.clock)
        self.upkeep = SessionUpkeep(database, LIFETIMES, self.clock)
        self.epochs = AccountEpochs(database, self.clock)
        self._admitter = Admitter(store, clock=self.clock)
        self._admitter.prove_tokens(Epochs(store, self.epochs, clock=self.clock, grace_s=60))

    def without_store(self) -> "Accounts":
        """The same, as a process sees it whose store is away."""
        return Accounts(self.database, ValkeyClient(NO_STORE), self.clock)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time(), UTC)

    async def add_user(self, email: str = "ann@example.com") -> User:
        async with get_db_context(self.database) as db:
            user = User(email=email, password_hash="!", roles=["db_reader"], scopes=SCOPES)
            db.add(user)
        return user

    async def begin(self, user: User, scopes: Sequence[str] = SCOPES) -> Opened:
        async with get_db_context(self.database) as db:
            return await self.sessions.begin(db, user, scopes, methods=("pwd", "otp"))

    async def refresh(self, token: str, scope: str = "") -> Opened:
        async with get_db_context(self.database) as db:
            return await self.sessions.refresh(db, token, scope)

    async def is_revoked(self, token: IssuedToken) -> bool:
        """Whether ADMIT refuses this token."""
        caller = Caller(self.tokens.verify(token.token), "192.0.2.1")
        return (await self._admitter.admit(_PLAN, caller)).verdict is Verdict.REVOKED

    async def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        async with get_db_context(self.database) as db:
            return [tuple(row) for row in await db.execute(text(statement), values)]

    async def write(self, statement: str, **values: Any) -> None:
        async with get_db_context(self.database) as db:
            await db.execute(text(statement), values)

    @asynccontextmanager
    async def unkept(self) -> AsyncIterator[AsyncSession]:
        """A database session that is rolled back."""
        async with self.database.session() as db:
            yield db
            await db.rollback()
