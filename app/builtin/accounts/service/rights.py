"""Rights that the tokens of a session carry, and those that no access token can."""

from collections.abc import Collection, Iterable

from app.builtin.accounts.models import AuthSession, User
from app.core.errors import Conflict, Unprocessable
from app.core.security import check_rights


class RightsDoNotFit(Conflict):
    """The account has roles or scopes that no access token can carry: too many, or names that there cannot be. From rows that were
    written past us; whoever gives rights through us is told by ``refuse_too_many``.
    """

    def __init__(self) -> None:
        super().__init__(
            "This account's roles and scopes do not fit into an access token. An administrator has to take some away."
        )


def refuse_too_many(roles: Iterable[str], scopes: Iterable[str]) -> None:
    """Raises Unprocessable for more than a token carries. With what somebody will have in all, not with what is added."""
    try:
        check_rights(roles, scopes)
    except ValueError as error:
        raise Unprocessable(str(error)) from None


def roles_in(session: AuthSession, user: User, mfa_roles: Collection[str]) -> list[str]:
    """The roles that the user has in this session; those of ``mfa_roles`` need a second factor in it."""
    withheld = () if "mfa" in session.methods else mfa_roles
    return [role for role in user.roles if role not in withheld]


def scopes_in(session: AuthSession, user: User, roles: Iterable[str]) -> frozenset[str]:
    """Those of the session's scopes that the user has still, himself or by ``roles``."""
    return frozenset(session.scopes) & user.scopes_with(roles)
