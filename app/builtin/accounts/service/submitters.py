"""What people may do when their jobs run: ``Submitters``."""

from dataclasses import replace
from uuid import UUID

from app.builtin.accounts.repository import find_rights
from app.core.context import Principal
from app.core.db import Database
from app.core.jobs import Submitters
from app.core.security import scopes_of

_OURS = 7
"""The version of our users' ids; those of other issuers' users are of another (``oidc_user_id``)."""


class AccountSubmitters(Submitters):
    """Knows the users of this service; for others their issuer is asked when they present a token, and not again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rights_of(self, submitter: Principal) -> Principal | None:
        """Those of his rights that he has still; None for an account that is blocked or deleted. Raises a DatabaseError (503)."""
        try:
            user_id = UUID(submitter.id)
        except ValueError:
            return submitter
        found = await find_rights(self._database, user_id)
        if found is None:
            return None if user_id.version == _OURS else submitter
        if not found.is_active:
            return None
        return replace(
            submitter,
            roles=submitter.roles.intersection(found.roles),
            scopes=submitter.scopes.intersection([*found.scopes, *scopes_of(found.roles)]),
        )
