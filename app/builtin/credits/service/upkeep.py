"""What must be looked after: holds that nobody settled, balances in the store, grants whose time is over."""

import asyncio
from collections.abc import Sequence

import structlog

from app.builtin.credits.repository import GrantRepository
from app.builtin.credits.service.burn import what_is_left
from app.builtin.credits.service.ledger import NOTHING, Ledger
from app.core.db import Database, get_db_context
from app.core.observability import CreditEvent, EventHub, HoldsEvent
from app.core.policies import Balance, HoldBook, Overdue
from app.core.valkey import StoreError, StoreReplyError

_KEYS_AT_ONCE = 1000
_ACCOUNTS_AT_ONCE = 100
_log = structlog.get_logger(__name__)


class Upkeep:
    """Periodic work on credits; each method is one run, and harmless when two processes do it at once."""

    def __init__(self, database: Database, ledger: Ledger, book: HoldBook, hub: EventHub) -> None:
        self._database = database
        self._ledger = ledger
        self._book = book
        self._hub = hub

    async def sweep(self) -> int:
        """End every expired hold as the ledger says; how many were ended.

        Its charge is in the ledger: the request was done and only its settlement was lost, so the balance after it is written. It is not:
        the hold is released, and a handler that commits later all the same is charged then. A request that submitted a job is charged under
        the job's id, of which the hold knows nothing: so the balance is written then too, read after the charge was looked for.
        """
        ended = still_open = 0
        async for accounts in self._book.accounts():
            found = await self._overdue(accounts)
            still_open += sum(overdue.open for overdue in found)
            expired = [
                (account, hold)
                for account, overdue in zip(accounts, found, strict=True)
                for hold in overdue.holds
            ]
            for start in range(0, len(expired), _KEYS_AT_ONCE):
                part = expired[start : start + _KEYS_AT_ONCE]
                settled = await self._ledger.settled([hold.settlement_key for _, hold in part])
                rest = {account for account, hold in part if hold.settlement_key not in settled}
                balances = await self._ledger.balances(sorted(rest)) if rest else {}
                freed = await asyncio.gather(
                    *(
                        self._book.free(
                            account, hold.rid, settled.get(hold.settlement_key) or balances.get(account)
                        )
                        for account, hold in part
                    )
                )
                ended += self._count(
                    [hold.settlement_key in settled for _, hold in part],
                    [micro is not None for micro in freed],
                )
        self._hub.emit(HoldsEvent(still_open - ended))
        return ended

    async def _overdue(self, accounts: Sequence[str], *, most: int = 100) -> list[Overdue]:
        """Each account as the store has it. One that it cannot read, because somebody else wrote there, is as good as absent."""
        reads = (self._book.overdue(account, most=most) for account in accounts)
        found = list[Overdue]()
        for read in await asyncio.gather(*reads, return_exceptions=True):
            if isinstance(read, BaseException) and not isinstance(read, StoreReplyError):
                raise read
            found.append(read if isinstance(read, Overdue) else Overdue(None, ()))
        return found

    def _count(self, committed: Sequence[bool], freed: Sequence[bool]) -> int:
        done = [was_committed for was_committed, was_freed in zip(committed, freed, strict=True) if was_freed]
        for outcome, number in (("committed", sum(done)), ("released", len(done) - sum(done))):
            if number:
                self._hub.emit(CreditEvent(outcome, number))
        return len(done)

    async def reconcile(self) -> int:
        """Bring the balances in the store up to the ledger's; how many were wrong.

        The store is read before the ledger: what it has then was committed, so a ledger that is older has lost its last writes in a
        failover, and is believed.
        """
        corrected, gone = 0, list[str]()
        async for accounts in self._book.accounts():
            found = await self._overdue(accounts, most=1)
            versions = {
                account: overdue.version
                for account, overdue in zip(accounts, found, strict=True)
                if overdue.version is not None
            }
            gone += [account for account in accounts if account not in versions]
            balances = await self._ledger.balances(list(versions))
            for account, version in versions.items():
                corrected += await self._correct(account, balances.get(account, NOTHING), version)
        await self._book.forget(gone)
        return corrected

    async def _correct(self, account: str, balance: Balance, version: int) -> bool:
        if balance.version > version:
            return await self._book.sync(account, balance)
        if balance.version < version:
            _log.warning("credits.ledger_went_back", by=version - balance.version)
            return await self._book.put_back(account, balance, over=version)
        return False

    async def expire_grants(self) -> int:
        """Take away what is left of grants whose time is over, a hundred accounts at a time; how many grants."""
        ended, after = 0, ""
        while True:
            async with self._database.session() as session:
                accounts = await GrantRepository(session).due(_ACCOUNTS_AT_ONCE, after=after)
            for account in accounts:
                try:
                    ended += await self.expire_account(account)
                except ValueError:  # Its entries do not add up: the others must not wait for it.
                    _log.exception("credits.account_does_not_add_up", account=account)
            if len(accounts) < _ACCOUNTS_AT_ONCE:
                return ended
            after = accounts[-1]

    async def expire_account(self, account: str) -> int:
        """The same for one account. Its requests in flight keep their holds; what no longer covers them becomes overage."""
        async with get_db_context(self._database) as session:
            grants = GrantRepository(session)
            snapshot = await grants.snapshot(account)
            if snapshot is None:
                return 0
            left = what_is_left(snapshot.lots, snapshot.spendings, snapshot.burned)
            over = [
                lot.id
                for lot in snapshot.lots
                if lot.expires_at is not None and lot.expires_at <= snapshot.now
            ]
            expired = {lot: left[lot] for lot in over}
            balance = await grants.expire(account, snapshot.balance.version, left, expired)
        if over:
            self._hub.emit(CreditEvent("expired", len(over)))
        await self._tell(account, balance)
        return len(over)

    async def refresh(self, account: str) -> None:
        """Tell the store the account's balance as the ledger has it now. Raises Unavailable when one of them is away."""
        await self._book.sync(account, await self._ledger.balance(account))

    async def _tell(self, account: str, balance: Balance) -> None:
        try:
            await self._book.sync(account, balance)
        except StoreError as error:  # The reconciler comes within a minute.
            _log.warning("credits.not_told", error=type(error).__name__)
