"""What credits provide to the application: the ledger, the plans, and who looks after them."""

from collections.abc import Mapping
from typing import Any

from app.builtin.credits.service.desk import CreditDesk
from app.builtin.credits.service.ledger import Ledger
from app.builtin.credits.service.plans import Plans
from app.builtin.credits.service.upkeep import Upkeep
from app.core.db import after_commit_idle
from app.core.http import Platform
from app.core.policies import CreditLedger, HoldBook, PlanSource


def provide_credits(platform: Platform, _settings: object) -> Mapping[type[Any], Any]:
    """The services of this feature, by type. Charges that wait are posted, and grants told, when the platform closes."""
    ledger = Ledger(platform.database, platform.hub, platform.clock)
    book = platform.holds
    upkeep = Upkeep(platform.database, ledger, book, platform.hub)
    platform.on_stop += [ledger.aclose, book.close, after_commit_idle]
    return {
        CreditLedger: ledger,
        PlanSource: Plans(platform.database, platform.clock),
        HoldBook: book,
        Upkeep: upkeep,
        CreditDesk: CreditDesk(book, upkeep, platform.clock),
    }
