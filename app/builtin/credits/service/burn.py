"""Which grants were spent: the burn order, counted after the fact."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from app.builtin.credits.repository import Lot, Spending

_NEVER = datetime.max.replace(tzinfo=UTC)


def burn_order(lot: Lot) -> tuple[int, datetime, bool, int]:
    """Lower priority first, then what expires sooner, then given before paid, then older."""
    return lot.priority, lot.expires_at or _NEVER, lot.is_paid, lot.version


def what_is_left(lots: Iterable[Lot], spendings: Sequence[Spending], burned: int) -> dict[UUID, int]:
    """Micro-credits that remain of each lot after the spendings, which are in the order of the ledger.

    ``burned``: lots up to this version are there from the beginning, others from their own entry on. Raises ValueError when more was spent
    than there was, which the ledger does not let happen.
    """
    coming = sorted(lots, key=lambda lot: lot.version)
    left: dict[UUID, int] = {lot.id: lot.micro for lot in coming}
    pool: list[Lot] = []
    for since, micro in spendings:
        while coming and coming[0].version <= max(since, burned):
            pool.append(coming.pop(0))
        pool.sort(key=burn_order)
        rest = micro
        while rest:
            if not pool:
                raise ValueError(f"{rest} micro-credits more were spent than were granted")
            taken = min(rest, left[pool[0].id])
            left[pool[0].id] -= taken
            rest -= taken
            if not left[pool[0].id]:
                pool.pop(0)
    return left
