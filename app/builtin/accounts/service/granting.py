"""What administrators may give and take."""

from collections.abc import Iterable

from app.builtin.accounts.models import User
from app.core.context import Principal
from app.core.errors import Conflict, PermissionDenied, Unprocessable
from app.core.security import format_scope, parse_scope, register_scope, scopes_of

ADMIN = "admin"
_MOST_ROLES = 64

register_scope("read:users", "List users and what they may do", roles=(ADMIN,))
register_scope("write:users", "Create, disable and delete users, and change what they may do", roles=(ADMIN,))
register_scope("read:audit", "Read what was done to accounts, by whom and when", roles=(ADMIN,))


class RightsNotHeld(PermissionDenied):
    """Somebody would give a role or a scope that he does not have himself."""

    def __init__(self, missing: Iterable[str]) -> None:
        missing = sorted(missing)
        super().__init__(
            f"Nobody gives what he does not have himself: {', '.join(missing)}.",
            extensions={"missing_rights": missing},
        )


class OwnAccount(Conflict):
    """Administrators disable, delete and degrade others, not themselves: a slip would shut them out."""

    def __init__(self) -> None:
        super().__init__("This is your own account; another administrator can do this.")


class LastAdministrator(Conflict):
    """Nobody would be left who could administer."""

    def __init__(self) -> None:
        super().__init__("This is the last active administrator.")


def check_may_give(by: Principal | None, roles: Iterable[str], scopes: Iterable[str]) -> None:
    """Raises ``RightsNotHeld`` unless the token of ``by`` carries all of these, and the scopes of the roles. None may give everything.

    The token counts, not the account: who signed in with fewer scopes gives no more than these.
    """
    if by is None:
        return
    roles = frozenset(roles)
    missing = (roles - by.roles) | ((scopes_of(roles) | frozenset(scopes)) - by.scopes)
    if missing:
        raise RightsNotHeld(missing)


def check_fit_a_token(user: User) -> None:
    """Raises ``Unprocessable`` for more roles or scopes than a token can carry."""
    try:
        parse_scope(format_scope(user.all_scopes))
    except ValueError as exc:
        raise Unprocessable("These are more scopes than a token can carry.") from exc
    if len(user.roles) > _MOST_ROLES:
        raise Unprocessable("These are more roles than a token can carry.")
