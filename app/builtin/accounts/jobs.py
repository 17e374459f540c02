"""What is done for accounts again and again."""

from app.builtin.accounts.service import AccountApiKeys, ApiKeyUpkeep, EmailTokenUpkeep, SessionUpkeep
from app.core.http import Platform
from app.core.jobs import Periodic

PURGE_S, FORGET_S, USES_S = 3600.0, 20.0, 30.0


def periodic(platform: Platform) -> tuple[Periodic, ...]:
    """What was over long ago: sessions, users, keys, links, what followed refresh tokens; and when API keys were used."""
    upkeep = platform.require(SessionUpkeep)
    return (
        Periodic(name="accounts.purge_sessions", every_s=PURGE_S, work=upkeep.purge),
        Periodic(
            name="accounts.purge_email_tokens", every_s=PURGE_S, work=platform.require(EmailTokenUpkeep).purge
        ),
        Periodic(name="accounts.purge_deleted_users", every_s=PURGE_S, work=upkeep.purge_deleted),
        Periodic(name="accounts.forget_successors", every_s=FORGET_S, work=upkeep.forget_successors),
        Periodic(
            name="accounts.write_key_uses",
            every_s=USES_S,
            work=platform.require(AccountApiKeys).flush,
            leader=False,
        ),
        Periodic(name="accounts.purge_api_keys", every_s=PURGE_S, work=platform.require(ApiKeyUpkeep).purge),
    )
