"""What a request took when it was admitted, towards the store: renewed while it is worked on, settled or given back at its end.

Slots are freed and the cache is filled after the last byte, batched debits are handed on then. What was written into a transaction is
settled before the first.
"""

from app.core.db import AsyncSession
from app.core.http._answer import Answer
from app.core.http._cached_answers import Sought
from app.core.http._charge import ChargeName
from app.core.http._computation import Computation
from app.core.http._incoming import Incoming
from app.core.http._keeper import Keeper
from app.core.policies import Admission, Balance, Caller, debit_later, debit_of


class Taken:
    """One request's. It is ended by whichever comes first of settling, ``finish`` and ``abort``."""

    __slots__ = (
        "_charge_name",
        "_computation",
        "_has_failed",
        "_incoming",
        "_keeper",
        "_owes_credits",
        "actual",
        "admission",
        "caller",
        "has_started",
        "is_charged",
        "is_settled",
        "receive",
        "stale",
    )  # fmt: skip

    def __init__(
        self,
        keeper: Keeper,
        admission: Admission,
        caller: Caller,
        incoming: Incoming,
        *,
        sought: Sought | None,
        stale: Answer | None = None,
    ) -> None:
        self._keeper = keeper
        self.admission = admission
        self.caller = caller
        self.receive = incoming.receive
        self._incoming = incoming
        self._computation: Computation | None = None
        if (
            sought is not None
            and (admission.is_leader or sought.lead is not None)
            and keeper.cached is not None
        ):
            self._computation = Computation(keeper.cached, sought)
        self.stale = stale
        self.has_started = self.is_charged = False
        self.is_settled = False
        self.actual: int | None = None
        self._charge_name: ChargeName | None = None
        self._has_failed = False
        self._owes_credits = False

    def pays_in(self, session: AsyncSession) -> bool:
        """Whether its charge goes into this session's transaction and has no name but its own yet."""
        name = self._charge_name
        return name is not None and self.admission.ask.price is not None and name.may_be_given_in(session)

    def charge_as(self, key: str | None, session: AsyncSession) -> None:
        """Give its charge the name ``key``; None: nothing was begun that is to be paid for."""
        if self._charge_name is not None:
            self._charge_name.give(key, session)

    def renew(self) -> None:
        """Keep the leases alive while the handler works."""
        self._keeper.renewals.add(self.admission)

    def end_renewal(self) -> None:
        """Let them end by themselves from now on."""
        self._keeper.renewals.discard(self.admission)

    async def _settle(self, blob: bytes | None, balance: Balance | None) -> None:
        self.is_settled = True
        computation = self._computation
        entry = computation.entry(self.admission.versions) if computation is not None else None
        # A batched debit keeps its hold until it is in the ledger.
        await self._keeper.admitter.settle(self.admission, blob, balance, entry, keep_hold=self._owes_credits)
        if computation is not None:
            computation.end()

    async def finish(self) -> None:
        """After the last byte: free what is still taken, write what was put off. Never raises for the store."""
        if not self.is_settled:
            self.is_settled = True
            try:
                if self._has_failed:
                    await self._throttle()
                await self._keeper.traffic.turn()
            finally:  # also when it is cancelled here: the caller has his answer
                self._settle_soon()
                self._debit_later()
        else:
            self._debit_later()

    def _settle_soon(self) -> None:
        computation = self._computation
        entry = computation.entry(self.admission.versions) if computation is not None else None
        self._keeper.admitter.settle_soon(self.admission, entry=entry, keep_hold=self._owes_credits)
        if computation is not None:
            computation.end()  # calls go out in their order: who looks now finds what was just sent

    def _debit_later(self) -> None:
        if not self._owes_credits:
            return
        ledger, holds = self._keeper.ledger, self._keeper.holds
        self._owes_credits = False
        if ledger is not None and holds is not None:
            debit = debit_of(self.admission, self.caller, self.actual, self._incoming.request_id)
            debit_later(ledger, holds, self.admission, debit)

    async def _throttle(self) -> None:
        """After a failure, where a stale answer can be given, others do not try at once."""
        if self._has_failed and self.stale is not None and self._computation is not None:
            await self._computation.throttle(self.admission.rid)

    async def abort(self, *, keep_claim: bool = False) -> None:
        """Give back claim, slots, quota and credits. Doing it again does nothing."""
        if not self.is_settled:
            self.is_settled, self._owes_credits = True, False
            await self._throttle()
            await self._keeper.admitter.abort(self.admission, keep_claim=keep_claim)
        if self._computation is not None:
            self._computation.end()  # also when it was cancelled while it was settled
