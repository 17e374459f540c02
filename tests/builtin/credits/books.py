"""What tests of credits do: give, charge, hold, and check that the books are right."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from app.builtin.credits.service import Ledger, Posted, Upkeep, grant
from app.core.db import Database, get_db_context
from app.core.observability import CreditEvent, Event
from app.core.policies import CREDIT, Balance, Debit, HoldBook, account_key
from app.core.valkey import ValkeyClient

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Events(list[CreditEvent]):
    def take(self, event: Event) -> None:
        assert isinstance(event, CreditEvent)
        self.append(event)

    def count(self, outcome: object) -> int:
        return sum(event.charges for event in self if event.outcome == outcome)


def debit_of(account: str, credits_: float, key: str | None = None) -> Debit:
    return Debit(account, int(credits_ * CREDIT), key or f"r:{uuid4().hex}", "test", None)


async def give(database: Database, account: str, amount: int, **options: Any) -> Posted:
    async with get_db_context(database) as session:
        return await grant(session, account, amount, **options)


async def charge(database: Database, ledger: Ledger, debit: Debit) -> Balance:
    """A strict debit in a transaction of its own."""
    async with get_db_context(database) as session:
        return await ledger.debit(session, debit)


async def check_books(database: Database) -> None:
    """The sum of every account's entries is its balance, which is not negative, and its version is the last entry's."""
    async with database.connect() as connection:
        wrong = await connection.execute(
            text(
                "SELECT a.id, a.balance_micro, sum(l.amount_micro) FROM credit_accounts a LEFT JOIN credit_ledger l ON l.account_id = a.id"
                " GROUP BY a.id HAVING a.balance_micro <> coalesce(sum(l.amount_micro), 0) OR a.balance_micro < 0"
                " OR a.version <> coalesce(max(l.version), 0)"
            )
        )
        assert wrong.all() == []


async def entries(database: Database, account: str) -> list[tuple[str, float, float]]:
    """Kind, amount and overage in credits, in order."""
    async with database.connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT kind, amount_micro, overage_micro FROM credit_ledger WHERE account_id = :a ORDER BY version"
            ),
            {"a": account},
        )
        return [(kind, amount / CREDIT, overage / CREDIT) for kind, amount, overage in rows]


async def server_ms(store: ValkeyClient) -> int:
    seconds, micros = await store.execute("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


@dataclass
class Books:
    """A ledger, the store beside it, and those who look after both."""

    database: Database
    store: ValkeyClient
    ledger: Ledger
    book: HoldBook
    upkeep: Upkeep
    rids: list[str] = field(default_factory=list)

    async def load(self, account: str) -> None:
        """What a COLD answer of ADMIT leads to."""
        await self.book.load(account, await self.ledger.balance(account))

    async def hold(self, account: str, credits_: float, key: str, *, in_ms: int = 60_000) -> str | None:
        """What ADMIT does: hold if the balance less all holds reaches, and say None if not."""
        balance, held = await self.state(account)
        micro = int(credits_ * CREDIT)
        if balance - held < micro:
            return None
        rid = uuid4().hex
        value = f"{micro} {await server_ms(self.store) + in_ms} {key}"
        await self.store.execute("HSET", account_key(account), "r" + rid, value)
        await self.store.execute("HINCRBY", account_key(account), "h", micro)
        return rid

    async def expire(self, account: str, rid: str) -> None:
        """The hold's time is over."""
        value = await self.store.execute("HGET", account_key(account), "r" + rid)
        if value is not None:
            micro, _, key = value.decode().split(" ")
            await self.store.execute("HSET", account_key(account), "r" + rid, f"{micro} 1 {key}")

    async def state(self, account: str) -> tuple[int, int]:
        """Balance and holds as the store has them."""
        balance, held = await self.store.execute("HMGET", account_key(account), "b", "h")
        return int(balance or 0), int(held or 0)


async def end_grant(database: Database, posted: Posted) -> None:
    """The grant's time is over. (Grants are rows that change; the ledger is not.)"""
    async with get_db_context(database) as session:
        await session.execute(
            text("UPDATE credit_grants SET expires_at = :at WHERE id = :id"),
            {"at": LONG_AGO, "id": posted.id},
        )


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


async def until(condition: Callable[[], bool]) -> None:
    """Look again until it is so; fails after ten seconds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to that")
