"""Debits that more follows from: what they took, and what of it was given back."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import translate_errors

_CHARGES = text("""
SELECT e.settlement_key, e.id, e.account_id, -e.amount_micro, e.overage_micro, (
    SELECT coalesce(CAST(sum(r.amount_micro) AS bigint), 0) FROM credit_ledger r WHERE r.refers_to = e.id AND r.kind = 'refund')
FROM credit_ledger e WHERE e.settlement_key = ANY(CAST(:keys AS text[])) AND e.kind = 'debit'
""")
_LOCK = text(
    "SELECT id FROM credit_accounts WHERE id = ANY(CAST(:accounts AS text[])) ORDER BY id FOR NO KEY UPDATE"
)


class Charge(NamedTuple):
    """A debit: what it took (``paid``), what it should have taken beyond that (``overage``), what was given back (``refunded``), all in
    micro-credits.
    """

    key: str
    id: UUID
    account: str
    paid: int
    overage: int
    refunded: int

    @property
    def asked(self) -> int:
        """What it was for."""
        return self.paid + self.overage


class ChargeRepository:
    """Debits by their keys, in one session. Raises our database errors."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, keys: Sequence[str]) -> list[Charge]:
        """Those of them that are in the ledger."""
        with translate_errors():
            return [Charge(*row) for row in await self._session.execute(_CHARGES, {"keys": list(keys)})]

    async def lock(self, keys: Sequence[str]) -> list[Charge]:
        """The same, exact until the end of the transaction: nobody else writes into their accounts before."""
        accounts = sorted({charge.account for charge in await self.find(keys)})
        if not accounts:
            return []
        with translate_errors():
            await self._session.execute(_LOCK, {"accounts": accounts})
        return await self.find(keys)
