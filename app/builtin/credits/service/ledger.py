"""The ledger as the policy engine asks for it: ``CreditLedger``."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from app.builtin.credits.repository import LedgerRepository, post_at_once
from app.builtin.credits.service.batch import DebitBatch
from app.builtin.credits.service.closing import close_charges, repeat_charge
from app.core.db import AsyncSession, ConstraintViolated, Database, get_db_context
from app.core.observability import EventHub
from app.core.policies import Balance, Debit, FinalCost
from app.core.policies import CreditLedger as CreditLedgerProtocol
from app.core.resilience import Clock

NOTHING = Balance(0, 0)


class Ledger(CreditLedgerProtocol):
    """Credits in PostgreSQL. ``batch`` is for the charges that are written after the answer; other options are its."""

    def __init__(self, database: Database, hub: EventHub, clock: Clock, **options: float) -> None:
        self._database = database
        self.batch = DebitBatch(self._post, hub, clock, **options)  # type: ignore[arg-type]

    async def balance(self, account: str) -> Balance:
        """The account's balance; (0, 0) when there is no such account. Raises Unavailable when it cannot be read."""
        return (await self.balances([account])).get(account, NOTHING)

    async def balances(self, accounts: Sequence[str]) -> Mapping[str, Balance]:
        """The balances of those accounts that exist."""
        async with self._database.session() as session:
            return await LedgerRepository(session).balances(accounts)

    async def settled(self, keys: Sequence[str]) -> Mapping[str, Balance]:
        """Which of these charges are in the ledger, with their accounts' balances now."""
        async with self._database.session() as session:
            return await LedgerRepository(session).settled(keys)

    async def debit(self, session: AsyncSession, debit: Debit) -> Balance:
        """Write the debit into the session's transaction; the balance after it. One round trip.

        An account that does not exist is made, and all of the debit is its overage.
        """
        _check(debit)
        return (await LedgerRepository(session).debit([debit]))[debit.account]

    async def close(self, session: AsyncSession, finals: Sequence[FinalCost]) -> Mapping[str, Balance]:
        """Give back, or charge, what debits differ from their final cost by; the balances of the accounts that changed."""
        return await close_charges(session, finals)

    async def repeat(
        self, session: AsyncSession, key: str, *, under: str, policy: str
    ) -> tuple[str, Balance] | None:
        """Charge what a debit was for once more. Raises InsufficientCredits (402)."""
        return await repeat_charge(session, key, under=under, policy=policy)

    def debit_later(self, debit: Debit, done: Callable[[Balance], None]) -> None:
        """Write it within 50 ms, with others; then call ``done`` with the balance after it."""
        _check(debit)
        self.batch.add(debit, done)

    async def aclose(self) -> None:
        """Post what waits; at most 5 seconds."""
        await self.batch.aclose()

    async def _post(self, debits: Sequence[Debit]) -> Mapping[str, Balance]:
        balances: dict[str, Balance] = {}
        # Refused when somebody posts one of them at the same moment; nothing is kept then.
        with suppress(ConstraintViolated):
            balances = await post_at_once(self._database, [debit for debit in debits if not debit.is_rerun])
        if rest := [debit for debit in debits if debit.is_rerun or debit.account not in balances]:
            async with get_db_context(self._database) as session:
                balances |= await LedgerRepository(session).debit(rest)
        return balances


def _check(debit: Debit) -> None:
    if debit.micro < 0:
        raise ValueError(f"a debit must not be negative, not {debit.micro}; to give back use refund()")
