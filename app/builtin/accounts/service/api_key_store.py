"""API keys as the gates ask for them: looked up in the database, their use written down later."""

from datetime import UTC, datetime
from ipaddress import ip_network
from uuid import UUID

import structlog

from app.builtin.accounts.repository import FoundKey, find_key, write_uses
from app.builtin.accounts.service.api_key_rights import key_rights
from app.core.context import Principal
from app.core.db import Database
from app.core.errors import Unavailable
from app.core.resilience import Clock
from app.core.security import ApiKeyRecord, ApiKeyStore, scopes_of

_MOST_USES = 10_000
_log = structlog.get_logger(__name__)


class AccountApiKeys(ApiKeyStore):
    """One process's. ``flush`` writes when keys were last used; what was not written when the process is killed is lost.

    At most 10,000 keys wait to be written; more are not noted until then.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._used: dict[UUID, datetime] = {}

    async def find(self, secret_id: UUID) -> ApiKeyRecord | None:
        """The secret with this id, with the rights that its owner has now. Raises a DatabaseError (503)."""
        found = await find_key(self._database, secret_id)
        if found is None:
            return None
        return ApiKeyRecord(found.hash, _principal(found, secret_id), tuple(map(ip_network, found.networks)))

    def used(self, principal: Principal) -> None:
        """The key was used now."""
        if principal.api_key_id is not None and len(self._used) < _MOST_USES:
            self._used[UUID(principal.api_key_id)] = datetime.fromtimestamp(self._clock.time(), UTC)

    async def flush(self) -> None:
        """Write what waits. Raises a DatabaseError (503), and everything waits on."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await write_uses(self._database, used)
        except BaseException:
            self._used = used | self._used
            raise

    async def aclose(self) -> None:
        """Write what waits, if it can be written."""
        try:
            await self.flush()
        except Unavailable as error:
            _log.warning("api_keys.uses_lost", keys=len(self._used), error=type(error).__name__)


def _principal(found: FoundKey, secret_id: UUID) -> Principal:
    return Principal(
        str(found.user_id),
        scopes=key_rights(found.scopes, scopes_of(found.owner_roles).union(found.owner_scopes)),
        roles=key_rights(found.roles, found.owner_roles),
        api_key_id=str(found.key_id),
        session_id=str(secret_id),
        issued_at=found.tokens_since_ms / 1000,
        expires_at=found.expires_at,
    )
