"""What credits do: the ledger and plans for the policy engine, upkeep for the periodic tasks, administration for people."""

from app.builtin.credits.service.administration import (
    KeyUsed,
    Posted,
    RefundTooLarge,
    account_of,
    grant,
    refund,
    seed_credits,
    set_plan,
)
from app.builtin.credits.service.batch import DebitBatch
from app.builtin.credits.service.burn import what_is_left
from app.builtin.credits.service.desk import CreditDesk
from app.builtin.credits.service.ledger import Ledger
from app.builtin.credits.service.plans import Plans
from app.builtin.credits.service.provide import provide_credits
from app.builtin.credits.service.upkeep import Upkeep

__all__ = [
    "CreditDesk",
    "DebitBatch",
    "KeyUsed",
    "Ledger",
    "Plans",
    "Posted",
    "RefundTooLarge",
    "Upkeep",
    "account_of",
    "grant",
    "provide_credits",
    "refund",
    "seed_credits",
    "set_plan",
    "what_is_left",
]
