"""What one piece of admitted work took, until it is settled or given back."""

from app.core.context import current_context
from app.core.db import AsyncSession
from app.core.policies._admission import Admission
from app.core.policies._charge import debit_later, debit_of
from app.core.policies._engine_parts import EngineParts
from app.core.policies._keys import Caller
from app.core.policies._providers import Balance, Debit


class Permit:
    """What one piece of admitted work took. End it with ``settle`` or ``give_back``; whichever comes first counts."""

    __slots__ = ("_balance", "_is_over", "_is_put_off", "_parts", "actual", "admission", "caller")

    def __init__(self, parts: EngineParts, caller: Caller, admission: Admission | None) -> None:
        self._parts = parts
        self.caller = caller
        self.admission = admission
        self.actual: int | None = None
        self._balance: Balance | None = None
        self._is_over = False
        self._is_put_off = False

    @property
    def owes(self) -> bool:
        """Whether the work is to be paid for."""
        admission = self.admission
        is_held = admission is not None and admission.ask.price is not None and not self._is_put_off
        return is_held and self.actual != 0

    def pays_in(self, _session: AsyncSession) -> bool:
        """Never: the debit is written when the work is over, in a transaction that is not the work's."""
        return False

    def charge_as(self, _key: str | None, _session: AsyncSession) -> None:
        """Does nothing: see ``pays_in``."""

    async def pay(self, session: AsyncSession) -> None:
        """Write the debit into the session's transaction; ``settle`` after its commit, ``give_back`` if it is undone."""
        ledger, admission = self._parts.ledger, self.admission
        assert ledger is not None and admission is not None  # noqa: S101, PT018 - see owes
        self._balance = await ledger.debit(session, self._debit(admission))

    async def pay_later(self) -> None:
        """Hand the debit to the ledger's next batch, which frees the hold; settles the rest."""
        ledger, holds, admission = self._parts.ledger, self._parts.holds, self.admission
        assert ledger is not None and holds is not None and admission is not None  # noqa: S101, PT018 - see owes
        debit_later(ledger, holds, admission, self._debit(admission))
        self._balance = None
        self._is_put_off = True
        await self.settle()

    async def settle(self) -> None:
        """The work is done: frees slots and hold, with the balance after the debit. Raises nothing for the store.

        Waits for the store, so that the caller's next request finds what it did not use.
        """
        if self._end() and self.admission is not None and self.admission.is_owed_settlement:
            await self._parts.admitter.settle(self.admission, None, self._balance, keep_hold=self._is_put_off)

    async def give_back(self) -> None:
        """The work failed: everything but attempt limits is given back."""
        if self._end() and self.admission is not None:
            await self._parts.admitter.abort(self.admission)

    async def ended(self, end: str) -> None:
        """For ``SessionScope.at_end``, when ``pay`` went into its transaction: ``kept``, ``undone`` or ``unknown``."""
        if end == "kept":
            await self.settle()
        elif end == "undone":
            await self.give_back()
        elif self._end() and self.admission is not None:
            # The hold stays until its lease ends: then the sweeper asks the ledger.
            await self._parts.admitter.abort(self.admission, keep_hold=True)

    def _debit(self, admission: Admission) -> Debit:
        return debit_of(admission, self.caller, self.actual, current_context().request_id)

    def _end(self) -> bool:
        was_over, self._is_over = self._is_over, True
        return not was_over
