"""What a piece of work costs in the end, said from inside it: the estimate was held, the actual cost is charged."""

from contextvars import ContextVar
from typing import Protocol

from app.core.db import AsyncSession
from app.core.errors import ConfigurationError
from app.core.policies._credits import CREDIT, MOST_CREDITS


class Charged(Protocol):
    """Work that credits are held for. ``actual``: micro-credits to charge; None charges the estimate."""

    actual: int | None

    def pays_in(self, session: AsyncSession, /) -> bool:
        """Whether its charge goes into this session's transaction and has no name but its own yet."""

    def charge_as(self, key: str | None, session: AsyncSession, /) -> None:
        """Give its charge the name ``key``; None: nothing was begun that is to be paid for."""


_charged: ContextVar[Charged | None] = ContextVar("gatehouse_charged", default=None)
set_charged = _charged.set
reset_charged = _charged.reset


def set_cost(whole: int = 0, *, micro: int = 0) -> None:
    """Charge this much for the work in hand instead of its estimate: ``whole`` credits and ``micro`` millionths of one, together 0 to
    1,000,000,000 credits. ``set_cost(0)`` makes it free. The last call counts.

    For a handler, a dependency, or work of ``engine.run``, whose policy has ``credits``; also from a thread that works for it. What the
    estimate held beyond the cost is free again when the charge is written. A cost above the estimate is charged too; what the balance
    does not reach for is recorded as overage. Work whose estimate was 0 holds nothing and stays free whatever is said here; so do
    answers of 400 or above.

    Raises ValueError for a cost that is negative, too high or no whole number (money is never counted in floats), ConfigurationError
    where nothing is charged: the policy has no credits, or the answer is under way already (background tasks). Not for
    ``require_credits``, whose price is fixed.
    """
    if type(whole) is not int or type(micro) is not int:
        raise ValueError(f"a cost must be whole credits and millionths, not {whole!r} and {micro!r}")
    cost = whole * CREDIT + micro
    if whole < 0 or micro < 0 or cost > MOST_CREDITS * CREDIT:
        raise ValueError(
            f"a cost must be 0 to {MOST_CREDITS:,} credits, not {whole:,} and {micro:,} millionths"
        )
    work = _charged.get()
    if work is None:
        raise ConfigurationError(
            "Nothing is charged here: set_cost() is for handlers and work whose policy has credits=Credits(...)"
        )
    work.actual = cost


def pays_in(session: AsyncSession) -> bool:
    """Whether the request in hand holds credits that it will be charged in this session's transaction, and ``charge_as`` was not told of
    a key yet. False where nothing is charged, and for work of ``engine.run``, whose charge is a transaction of its own.
    """
    work = _charged.get()
    return work is not None and work.pays_in(session)


def charge_as(key: str | None, session: AsyncSession) -> None:
    """Have the request in hand charged under ``key``, such as the id of the job that it submitted: unique in the ledger, where an entry at
    the job's end refers to it. The debit is in the session's transaction then, also where the policy's settlement is batched. If what the
    session wrote up to now is rolled back, to a savepoint perhaps, the charge has its own name again.

    None: what was asked for is there already, and was paid for; nothing is charged, unless ``set_cost`` or a later call says otherwise.
    Only where ``pays_in`` says True; elsewhere it does nothing.
    """
    work = _charged.get()
    if work is not None and work.pays_in(session):
        work.charge_as(key, session)
