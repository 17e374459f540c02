"""What is done for credits again and again."""

from app.builtin.credits.service import Upkeep
from app.core.http import Platform
from app.core.jobs import Periodic

SWEEP_S, RECONCILE_S, EXPIRE_S = 4.0, 60.0, 60.0


def periodic(platform: Platform) -> tuple[Periodic, ...]:
    """Holds that nobody settled, balances in the store, grants whose time is over."""
    upkeep = platform.require(Upkeep)
    return (
        Periodic(name="credits.sweep", every_s=SWEEP_S, work=upkeep.sweep),
        Periodic(name="credits.reconcile", every_s=RECONCILE_S, work=upkeep.reconcile),
        Periodic(name="credits.expire", every_s=EXPIRE_S, work=upkeep.expire_grants),
    )
