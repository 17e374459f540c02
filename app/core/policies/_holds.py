"""The balances and holds that the store keeps beside the ledger, for those who look after them: loading, syncing, sweeping.

An account is one hash ``{u:<id>}:v1:c``: ``b`` balance in micro-credits, ``v`` its version in the ledger, ``h`` the sum of all holds, and
a field ``r<rid>`` per hold. ADMIT adds holds, SETTLE and ABORT take them away; nobody else does but the sweeper, through ``free``. All
times are the server's. An account lives for an hour after the last write, and in any case a minute longer than its longest hold.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from app.core.errors import ConfigurationError, Unavailable
from app.core.policies._providers import Balance, CreditLedger
from app.core.policies._store_calls import integers
from app.core.policies._terms import account_key
from app.core.valkey import Script, StoreError, ValkeyClient

ACCOUNTS_KEY = "{b:credits}:v1:c:x"
"""Which accounts are in the store: a sorted set by the time when each was loaded."""
MOST_MICRO = 2**53 - 1
"""The largest balance: what Lua's numbers count exactly."""
_LIST_GRACE_MS = 60_000  # far longer than a load takes between listing the account and writing it
_PAGE = 500
_log = structlog.get_logger(__name__)

_balance, _expired, _free, _forget, _list = (
    Script.load("app.core.policies.lua", f"hold_{name}.lua")
    for name in ("balance", "expired", "free", "forget", "list")
)
HOLD_SCRIPTS = (_balance, _expired, _free, _forget, _list)


class ExpiredHold(NamedTuple):
    """A hold whose request did not settle it in time. ``settlement_key`` is what the ledger would know its charge by."""

    rid: str
    micro: int
    settlement_key: str


class Overdue(NamedTuple):
    """One account as the sweeper sees it. ``version`` is None when the account is not in the store (any more).

    ``holds`` are those that are over; ``open`` is the number of all that it has.
    """

    version: int | None
    holds: tuple[ExpiredHold, ...]
    open: int = 0


class HoldBook:
    """Reads and corrects the accounts in the store. Every method raises a ``StoreError`` when the store does not answer.

    Not for admission: that is ADMIT's, which does it in the request's one round trip.
    """

    def __init__(self, store: ValkeyClient) -> None:
        self._store = store
        self._ending: dict[str, tuple[Balance, list[str]]] = {}
        self._answers: set[asyncio.Future[Any]] = set()

    async def load(self, account: str, balance: Balance) -> bool:
        """Put a COLD account into the store, or a newer balance over the one that is there. False: what is there is as new.

        It is listed first, so that the sweeper knows of every account that is there. Raises ValueError for a balance that Lua cannot count.
        """
        await self._store.run(_list, [ACCOUNTS_KEY], [account])
        return await self._write(account, balance, "load")

    async def sync(self, account: str, balance: Balance) -> bool:
        """Write the balance if the account is in the store with an older one."""
        return await self._write(account, balance, "sync")

    async def put_back(self, account: str, balance: Balance, *, over: int) -> bool:
        """Write the balance over exactly the version ``over``, though that is newer: the ledger lost its last writes in a failover."""
        return await self._write(account, balance, str(over))

    async def _write(self, account: str, balance: Balance, mode: str) -> bool:
        if not 0 <= balance.micro <= MOST_MICRO:
            raise ValueError(f"a balance must be 0 to {MOST_MICRO} micro-credits, not {balance.micro}")
        written = await self._store.run(
            _balance, [account_key(account)], [balance.micro, balance.version, mode]
        )
        return bool(written)

    async def held(self, account: str) -> int:
        """Micro-credits that requests in flight hold; 0 when the account is not in the store."""
        return sum(integers(await self._store.execute("HGET", account_key(account), "h") or b""))

    async def overdue(self, account: str, *, most: int = 100) -> Overdue:
        """The account's version and its expired holds, ``most`` at a time; they stay until ``free``."""
        version, open_, *rest = await self._store.run(_expired, [account_key(account)], [most])
        holds = tuple(
            ExpiredHold(rid.decode(), int(micro), key.decode())
            for rid, micro, key in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
        )
        return Overdue(None if version < 0 else version, holds, open_)

    async def expired(self, account: str) -> tuple[ExpiredHold, ...]:
        """The account's expired holds."""
        return (await self.overdue(account)).holds

    async def free(self, account: str, rid: str, balance: Balance | None = None) -> int | None:
        """Give a hold back, and write the balance after its charge if that is newer. The micro-credits freed; None: no such hold."""
        after = ("", "") if balance is None else (balance.micro, balance.version)
        (freed,) = await self._store.run(_free, [account_key(account)], [*after, rid])
        return None if freed is None else int(freed)

    def free_soon(self, account: str, rid: str, balance: Balance) -> None:
        """The same without waiting, together with all others of this turn of the event loop; if the store does not answer, the sweeper does
        it.
        """
        if not self._ending:
            asyncio.get_running_loop().call_soon(self._free_all)
        newest, rids = self._ending.get(account, (balance, []))
        rids.append(rid)
        self._ending[account] = (balance if balance.version > newest.version else newest, rids)

    def _free_all(self) -> None:
        ending, self._ending = self._ending, {}
        for account, (balance, rids) in ending.items():
            with suppress(StoreError):
                answer = self._store.submit(
                    _free, [account_key(account)], [balance.micro, balance.version, *rids]
                )
                self._answers.add(answer)
                answer.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        self._answers.discard(answer)
        if not answer.cancelled() and answer.exception() is not None:
            _log.warning("credits.hold_left", error=type(answer.exception()).__name__)

    async def close(self) -> None:
        """Wait for what ``free_soon`` began."""
        while self._ending or self._answers:
            await (asyncio.wait(self._answers) if self._answers else asyncio.sleep(0))

    async def accounts(self) -> AsyncIterator[list[str]]:
        """All accounts that were loaded, in pages of some hundreds; one may come twice, and one that left the store still come."""
        cursor = b"0"
        while True:
            cursor, found = await self._store.execute("ZSCAN", ACCOUNTS_KEY, cursor, "COUNT", _PAGE)
            if found:
                yield [account.decode() for account in found[::2]]
            if cursor == b"0":
                return

    async def forget(self, accounts: list[str]) -> int:
        """Take accounts off the list that are not in the store any more; those listed in the last minute stay.

        Also with nothing to take off it keeps the list alive for another day.
        """
        return int(await self._store.run(_forget, [ACCOUNTS_KEY], [_LIST_GRACE_MS, *accounts]))


async def load_account(
    account: str, ledger: CreditLedger | None, holds: HoldBook | None, *, is_shadow: bool
) -> bool:
    """Bring a COLD account into the store. False: that failed, and in shadow mode credits must not refuse anybody.

    Raises Unavailable when one of the two does not answer, ConfigurationError when no feature provides them.
    """
    if ledger is None or holds is None:
        raise ConfigurationError("Credits are asked for and no feature provides a CreditLedger")
    try:
        await holds.load(account, await ledger.balance(account))
    except Unavailable:
        if not is_shadow:
            raise
        return False
    return True
