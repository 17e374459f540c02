"""Grants that expire: how much of each is left, and the entries that end them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from app.core.db import translate_errors
from app.core.policies import Balance

_DUE = text("""
SELECT DISTINCT account_id FROM credit_grants
WHERE remaining_micro > 0 AND expires_at <= now() AND account_id > :after ORDER BY account_id LIMIT :most
""")
_LOCK = text(
    "SELECT balance_micro, version, burned_version, now() FROM credit_accounts WHERE id = :account FOR NO KEY UPDATE"
)
_LOTS = text("""
SELECT id, version, remaining_micro, priority, is_paid, expires_at FROM credit_grants WHERE account_id = :account AND remaining_micro > 0
""")
# Between two positive entries only the sum of what was spent matters, however many entries that were.
_SPENDINGS = text("""
SELECT coalesce(min(version) FILTER (WHERE amount_micro > 0), 0),
    CAST(coalesce(-sum(amount_micro) FILTER (WHERE amount_micro < 0), 0) AS bigint)
FROM (SELECT version, amount_micro, count(*) FILTER (WHERE amount_micro > 0) OVER (ORDER BY version) AS island
    FROM credit_ledger WHERE account_id = :account AND version > :burned) e
GROUP BY island ORDER BY island
""")
_SET_LEFT = text("""
UPDATE credit_grants g SET remaining_micro = n.micro FROM unnest(CAST(:ids AS uuid[]), CAST(:micros AS bigint[])) AS n(id, micro)
WHERE g.id = n.id AND g.remaining_micro <> n.micro
""")
_EXPIRE = text("""
WITH entry AS (
    INSERT INTO credit_ledger (id, account_id, version, kind, amount_micro, settlement_key, refers_to)
    SELECT e.id, :account, CAST(:version AS bigint) + e.place, 'expire', -e.micro, 'expire:' || e.lot, e.lot
    FROM unnest(CAST(:ids AS uuid[]), CAST(:lots AS uuid[]), CAST(:micros AS bigint[])) WITH ORDINALITY AS e(id, lot, micro, place)
    RETURNING amount_micro
)
UPDATE credit_accounts SET balance_micro = balance_micro + (SELECT coalesce(CAST(sum(amount_micro) AS bigint), 0) FROM entry),
    version = version + :number, burned_version = version + :number, updated_at = now()
WHERE id = :account RETURNING balance_micro, version
""")


class Lot(NamedTuple):
    """A grant (or refund) of which something is left; ``version`` is its entry's."""

    id: UUID
    version: int
    micro: int
    priority: int
    is_paid: bool
    expires_at: datetime | None


class Spending(NamedTuple):
    """What was debited after the positive entry with version ``since`` and before the next one; 0: before any."""

    since: int
    micro: int


class Snapshot(NamedTuple):
    """An account under lock: ``burned`` is the version up to which the lots are counted, ``now`` the transaction's time."""

    balance: Balance
    burned: int
    now: datetime
    lots: tuple[Lot, ...]
    spendings: tuple[Spending, ...]


class GrantRepository:
    """Grants in one session. Raises our database errors."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def due(self, most: int, *, after: str = "") -> Sequence[str]:
        """Accounts that have a grant whose time is over, in order; those after ``after``."""
        with translate_errors():
            return (await self._session.scalars(_DUE, {"most": most, "after": after})).all()

    async def snapshot(self, account: str) -> Snapshot | None:
        """Lock the account, and read its grants and what was spent since they were last counted."""
        with translate_errors():
            row = (await self._session.execute(_LOCK, {"account": account})).first()
            if row is None:
                return None
            micro, version, burned, now = row
            lots = await self._session.execute(_LOTS, {"account": account})
            spendings = await self._session.execute(_SPENDINGS, {"account": account, "burned": burned})
        return Snapshot(
            Balance(micro, version),
            burned,
            now,
            tuple(Lot(*lot) for lot in lots),
            tuple(Spending(*spending) for spending in spendings),
        )

    async def expire(
        self, account: str, version: int, left: Mapping[UUID, int], expired: Mapping[UUID, int]
    ) -> Balance:
        """Write what is left of each grant, and end those that expired with what was left of them; the balance after it."""
        after = {**left, **dict.fromkeys(expired, 0)}
        ending = {lot: micro for lot, micro in expired.items() if micro > 0}
        with translate_errors():
            await self._session.execute(_SET_LEFT, {"ids": list(after), "micros": list(after.values())})
            row = await self._session.execute(
                _EXPIRE,
                {
                    "account": account,
                    "version": version,
                    "number": len(ending),
                    "ids": [uuid7() for _ in ending],
                    "lots": list(ending),
                    "micros": list(ending.values()),
                },
            )
        return Balance(*row.one())
