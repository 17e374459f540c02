"""Reads and writes of credits, in a session that the caller commits."""

from app.builtin.credits.repository.charges import Charge, ChargeRepository
from app.builtin.credits.repository.grants import GrantRepository, Lot, Spending
from app.builtin.credits.repository.ledger import (
    AccountState,
    Entry,
    LedgerRepository,
    NewEntry,
    PaidDebit,
)
from app.builtin.credits.repository.posting import post_at_once

__all__ = [
    "AccountState",
    "Charge",
    "ChargeRepository",
    "Entry",
    "GrantRepository",
    "LedgerRepository",
    "Lot",
    "NewEntry",
    "PaidDebit",
    "Spending",
    "post_at_once",
]
