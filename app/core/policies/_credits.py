"""Credits: what a request costs is held before it runs and debited when it is done. PostgreSQL's ledger is the truth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from app.core.errors import PolicyRejected, Unavailable
from app.core.policies._rate_limit import CostRequest
from app.core.policies._words import one_of

CREDIT = 1_000_000
"""Micro-credits in one credit. Money is counted in whole micro-credits, never in floats."""
MOST_CREDITS = 1_000_000_000  # of one request; in micro-credits well below 2**53, where Lua stops being exact
Settle = Literal["strict", "batched"]


class InsufficientCredits(PolicyRejected):
    """The account's balance does not reach. Waiting does not help: there is no Retry-After."""

    status = 402
    title = "Payment Required"


class CreditsHeld(PolicyRejected):
    """The balance would reach, but requests in flight hold it. ``retry_after``: when to try again."""


class CreditsUnavailable(Unavailable):
    """The balance cannot be read now; never answered as 402."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """What one request costs the caller's account.

    cost: whole credits, 0 to 1,000,000,000, or a function of the request's head that returns the most it may take (an estimate;
        less may be charged with ``set_cost``). 0 takes nothing.
    settle: ``strict`` writes the debit in the handler's transaction, before the first byte of the answer; ``batched`` writes it within
        50 ms after the answer, many at once: a crash in between releases the hold and the request was free.

    An answer of 400 or above, an exception and a validation error cost nothing; so do cached hits and replays. While Valkey or PostgreSQL
    is down the answer is 503, never 402.
    """

    cost: int | Callable[[CostRequest], int] = 1
    settle: Settle = "strict"

    def __post_init__(self) -> None:
        one_of("Credits", "settle", self.settle, Settle)
        if not callable(self.cost) and (
            isinstance(self.cost, bool)
            or not isinstance(self.cost, int)
            or not 0 <= self.cost <= MOST_CREDITS
        ):
            raise ValueError(f"Credits.cost must be 0 to {MOST_CREDITS:,} whole credits, not {self.cost!r}")
