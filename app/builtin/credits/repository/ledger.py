"""The ledger and its accounts.

Every writer locks the account's row first and the ledger after it; several accounts are locked in the order of their ids. So writers of one
account queue, and nobody waits in a circle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from app.builtin.credits.models import CreditAccount, CreditEntry, Kind
from app.builtin.credits.repository.posting import POST_NEW, balances_of, once_each, post_values
from app.core.db import translate_errors
from app.core.policies import Balance, Debit

_ADD = text("""
WITH account AS (
    SELECT id, balance_micro, version FROM credit_accounts WHERE id = :account FOR NO KEY UPDATE
), entry AS (
    INSERT INTO credit_ledger (id, account_id, version, kind, amount_micro, settlement_key, refers_to, request_id, meta)
    SELECT :id, a.id, a.version + 1, :kind, CAST(:micro AS bigint), :key, CAST(:refers_to AS uuid), CAST(:request AS text),
        CAST(:meta AS jsonb) FROM account a
    ON CONFLICT (settlement_key) DO NOTHING RETURNING id, account_id, amount_micro, version
), lot AS (
    INSERT INTO credit_grants (id, account_id, version, remaining_micro, priority, is_paid, expires_at)
    SELECT id, account_id, version, amount_micro, :priority, :is_paid, CAST(:expires_at AS timestamptz) FROM entry
), change AS (
    UPDATE credit_accounts a SET balance_micro = a.balance_micro + e.amount_micro, version = e.version, updated_at = now()
    FROM entry e WHERE a.id = e.account_id RETURNING a.id, a.balance_micro, a.version
)
SELECT balance_micro, version FROM change
""")
_OPEN = text(
    "INSERT INTO credit_accounts (id) SELECT unnest(CAST(:accounts AS text[])) ON CONFLICT (id) DO NOTHING"
)
_LOCK = text(
    "SELECT id FROM credit_accounts WHERE id = ANY(CAST(:accounts AS text[])) ORDER BY id FOR NO KEY UPDATE"
)
_PAID = text("""
SELECT e.id, e.account_id, -e.amount_micro, (SELECT coalesce(CAST(sum(r.amount_micro) AS bigint), 0) FROM credit_ledger r
    WHERE r.refers_to = e.id AND r.kind = 'refund')
FROM credit_ledger e WHERE e.settlement_key = :key AND e.kind = 'debit'
""")
_SETTLED = text("""
SELECT l.settlement_key, a.balance_micro, a.version FROM credit_ledger l JOIN credit_accounts a ON a.id = l.account_id
WHERE l.settlement_key = ANY(CAST(:keys AS text[]))
""")
_SPENT = text("""
SELECT greatest(0, coalesce(CAST(sum(-amount_micro) FILTER (WHERE at >= :day) AS bigint), 0)),
    greatest(0, coalesce(CAST(sum(-amount_micro) AS bigint), 0))
FROM credit_ledger WHERE account_id = :account AND at >= :month AND kind IN ('debit', 'refund')
""")

Entry = CreditEntry


class AccountState(NamedTuple):
    """An account's row."""

    balance: Balance
    plan: str = "default"
    time_zone: str = "UTC"


class PaidDebit(NamedTuple):
    """A debit: what it took, and what of that was given back."""

    id: UUID
    account: str
    micro: int
    refunded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """Credits that come in: a grant, a refund or a correction. ``settlement_key`` is unique in the ledger."""

    account: str
    micro: int
    settlement_key: str
    kind: Kind = "grant"
    refers_to: UUID | None = None
    request_id: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    is_paid: bool = False
    expires_at: datetime | None = None


class LedgerRepository:
    """The ledger in one session. Raises our database errors."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def debit(self, debits: Sequence[Debit]) -> dict[str, Balance]:
        """Post charges; the balances after them, by account.

        A settlement key that is in the ledger changes nothing. What a balance does not cover is overage. One debit of a known account is
        one round trip.
        """
        debits = once_each(debits)
        with translate_errors():
            if len(debits) > 1 or any(debit.is_rerun for debit in debits):
                # Several of one account count against each other, and a run that was given up may post its twin at this very moment: both
                # need a statement that begins after the locks are held.
                await self._session.execute(_LOCK, {"accounts": [debit.account for debit in debits]})
            balances = await self._post(debits)
            if unknown := [debit for debit in debits if debit.account not in balances]:
                await self._session.execute(_OPEN, {"accounts": sorted({debit.account for debit in unknown})})
                balances |= await self._post(unknown)
        return balances

    async def _post(self, debits: Sequence[Debit]) -> dict[str, Balance]:
        connection = await self._session.connection()
        return balances_of(await connection.exec_driver_sql(POST_NEW, post_values(debits)))

    async def lock(self, account: str) -> None:
        """Make the account if there is none, and let nobody else write it before the end of the transaction."""
        with translate_errors():
            await self._session.execute(_OPEN, {"accounts": [account]})
            await self._session.execute(_LOCK, {"accounts": [account]})

    async def add(self, entry: NewEntry) -> tuple[UUID, Balance] | None:
        """Post credits that come in, to an account that exists. None: the settlement key is in the ledger already."""
        identity = uuid7()
        values = {
            "id": identity,
            "account": entry.account,
            "micro": entry.micro,
            "key": entry.settlement_key,
            "kind": entry.kind,
            "refers_to": entry.refers_to,
            "request": entry.request_id,
            "meta": orjson.dumps(dict(entry.meta)).decode(),
            "priority": entry.priority,
            "is_paid": entry.is_paid,
            "expires_at": entry.expires_at,
        }
        with translate_errors():
            row = (await self._session.execute(_ADD, values)).first()
        return None if row is None else (identity, Balance(*row))

    async def by_key(self, settlement_key: str) -> Entry | None:
        """The entry that a settlement key stands for."""
        with translate_errors():
            return await self._session.scalar(
                select(CreditEntry).where(CreditEntry.settlement_key == settlement_key)
            )

    async def paid(self, settlement_key: str) -> PaidDebit | None:
        """The debit with this key. Exact while its account is locked."""
        with translate_errors():
            row = (await self._session.execute(_PAID, {"key": settlement_key})).first()
        return None if row is None else PaidDebit(*row)

    async def state(self, account: str) -> AccountState | None:
        """The account, if there is one."""
        columns = (
            CreditAccount.balance_micro,
            CreditAccount.version,
            CreditAccount.plan,
            CreditAccount.time_zone,
        )
        with translate_errors():
            row = (await self._session.execute(select(*columns).where(CreditAccount.id == account))).first()
        return None if row is None else AccountState(Balance(row[0], row[1]), row[2], row[3])

    async def balances(self, accounts: Sequence[str]) -> dict[str, Balance]:
        """The balances of those accounts that exist."""
        statement = select(CreditAccount.id, CreditAccount.balance_micro, CreditAccount.version)
        with translate_errors():
            rows = await self._session.execute(statement.where(CreditAccount.id.in_(accounts)))
        return {account: Balance(micro, version) for account, micro, version in rows}

    async def settled(self, keys: Sequence[str]) -> dict[str, Balance]:
        """Which of these settlement keys are in the ledger, with their accounts' balances now."""
        with translate_errors():
            rows = await self._session.execute(_SETTLED, {"keys": list(keys)})
        return {key: Balance(micro, version) for key, micro, version in rows}

    async def spent(self, account: str, *, day: datetime, month: datetime) -> tuple[int, int]:
        """Micro-credits debited, less what was refunded, since the two moments; ``month`` is the earlier one."""
        values = {"account": account, "day": day, "month": month}
        with translate_errors():
            row = (await self._session.execute(_SPENT, values)).one()
        return row[0], row[1]

    async def page(self, account: str, *, limit: int, before: int | None) -> Sequence[Entry]:
        """At most ``limit`` entries, the newest first, those of a version below ``before``."""
        statement = select(CreditEntry).where(CreditEntry.account_id == account)
        if before is not None:
            statement = statement.where(CreditEntry.version < before)
        with translate_errors():
            return (
                await self._session.scalars(statement.order_by(CreditEntry.version.desc()).limit(limit))
            ).all()

    async def set_plan(self, account: str, **changes: str) -> None:
        """Change ``plan`` or ``time_zone`` of an account that exists."""
        with translate_errors():
            await self._session.execute(
                update(CreditAccount).where(CreditAccount.id == account).values(**changes)
            )
