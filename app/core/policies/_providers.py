"""What features must bring for some policies to work; the boot audit refuses a policy whose provider is absent, by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from sqlalchemy.ext.asyncio import AsyncSession


class Balance(NamedTuple):
    """An account as the ledger has it. ``version`` grows with every entry: of two balances the one with the higher version is newer."""

    micro: int
    version: int


class Debit(NamedTuple):
    """One charge. ``settlement_key`` is unique in the ledger: the same charge posted twice is posted once.

    ``twins``: keys under which the same work may have been charged when it ran before; an entry under one of them that is no older than
    ``within_s`` seconds is this charge. ``is_rerun``: it is known to have run before, and may still be at it.
    """

    account: str
    micro: int
    settlement_key: str
    policy: str
    request_id: str | None
    twins: tuple[str, str] | None = None
    within_s: float = 0.0
    is_rerun: bool = False


class FinalCost(NamedTuple):
    """What the debit with this settlement key comes to in the end, in micro-credits: 0 gives all of it back. ``policy`` is named in the
    entry for what it took more.
    """

    key: str
    micro: int
    policy: str


class CreditLedger(Protocol):
    """Where credits are kept. Amounts are micro-credits, accounts are the ids of their owners."""

    async def balance(self, account: str) -> Balance:
        """The account's balance; (0, 0) when there is no such account. Raises Unavailable when it cannot be read."""

    async def debit(self, session: AsyncSession, debit: Debit) -> Balance:
        """Write the debit into the session's transaction, which the caller commits; the balance after it.

        Never fails for lack of money: what the balance does not cover is recorded as overage. A settlement key that is in the ledger
        already changes nothing.
        """

    async def close(self, session: AsyncSession, finals: Sequence[FinalCost]) -> Mapping[str, Balance]:
        """In the session's transaction, give back what debits took above their final cost, and charge what they come to above their
        estimate, as a debit ``<key>:more``. Once each: the same again changes nothing, and a key that is not in the ledger is left out.

        Never fails for lack of money. The balances after it, by account, of those that changed.
        """

    async def repeat(
        self, session: AsyncSession, key: str, *, under: str, policy: str
    ) -> tuple[str, Balance] | None:
        """In the session's transaction, charge what the debit ``key`` was for once more, under another key: the account, and its balance
        after it. None when there is no such debit. Raises InsufficientCredits (402) when the balance does not reach.
        """

    def debit_later(self, debit: Debit, done: Callable[[Balance], None]) -> None:
        """Write it within 50 ms, with others; then call ``done`` with the balance after it."""


class Epoch(NamedTuple):
    """Which of an account's tokens have ended before their time: those issued before ``since_ms``, and those of the sessions ``ended``.

    Sessions whose tokens have run out by themselves need not be named.
    """

    since_ms: int = 0
    ended: tuple[str, ...] = ()


class EpochSource(Protocol):
    """Who has signed out, or was made to."""

    async def epoch_of(self, account: str) -> Epoch:
        """The account's; the empty one for somebody whom it does not know. Raises Unavailable when it cannot be read."""


class AccountPlan(NamedTuple):
    """A caller's plan and the time zone (IANA name) in which his days begin."""

    plan: str = "default"
    time_zone: str = "UTC"


class PlanSource(Protocol):
    """Who has which plan."""

    async def plan_of(self, account: str) -> AccountPlan:
        """The account's plan. Cheap: the source keeps what it read for a while. Raises Unavailable when it cannot be read."""
