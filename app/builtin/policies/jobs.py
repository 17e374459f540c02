"""What is done again and again for policies."""

from app.builtin.policies.service import SwitchBoard
from app.core.http import Platform
from app.core.jobs import Periodic


def periodic(platform: Platform) -> tuple[Periodic, ...]:
    """Every 10 s what the table of switches says is published again, so that a flushed Valkey heals."""
    board = platform.require(SwitchBoard)
    return (Periodic(name="policies.reassert_switches", every_s=10, work=board.reassert),)
