"""What is done for accounts again and again."""

from app.builtin.accounts.service import EmailTokenUpkeep, SessionUpkeep
from app.core.http import Platform
from app.core.jobs import Periodic

PURGE_S, FORGET_S = 3600.0, 20.0


def periodic(platform: Platform) -> tuple[Periodic, ...]:
    """Sessions and users that were over long ago, refresh tokens that may no longer be told, links that are too old."""
    upkeep = platform.require(SessionUpkeep)
    return (
        Periodic(name="accounts.purge_sessions", every_s=PURGE_S, work=upkeep.purge),
        Periodic(
            name="accounts.purge_email_tokens", every_s=PURGE_S, work=platform.require(EmailTokenUpkeep).purge
        ),
        Periodic(name="accounts.purge_deleted_users", every_s=PURGE_S, work=upkeep.purge_deleted),
        Periodic(name="accounts.forget_successors", every_s=FORGET_S, work=upkeep.forget_successors),
    )
