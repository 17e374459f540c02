"""Reads and writes of credits, in a session that the caller commits."""

from app.builtin.credits.repository.grants import GrantRepository, Lot, Spending
from app.builtin.credits.repository.ledger import (
    AccountState,
    Entry,
    LedgerRepository,
    NewEntry,
    PaidDebit,
)

__all__ = [
    "AccountState",
    "Entry",
    "GrantRepository",
    "LedgerRepository",
    "Lot",
    "NewEntry",
    "PaidDebit",
    "Spending",
]
