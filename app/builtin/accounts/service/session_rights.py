"""What the holder of a session may do, whether tokens or a cookie hold it."""

from collections.abc import Collection

from app.builtin.accounts.models import AuthSession, User
from app.builtin.accounts.service.scopes import InvalidScope


class SessionRights:
    """The rights of a session's holder, from what its user has now. ``mfa_roles``: roles of sessions with a second factor only."""

    def __init__(self, mfa_roles: Collection[str] = ()) -> None:
        self._mfa_roles = frozenset(mfa_roles)

    def roles(self, user: User, session: AuthSession) -> list[str]:
        """The user's roles; without a second factor those that need none."""
        withheld = frozenset() if "mfa" in session.methods else self._mfa_roles
        return [role for role in user.roles if role not in withheld]

    def scopes(self, user: User, session: AuthSession, among: Collection[str]) -> frozenset[str]:
        """Of the scopes ``among``, those that the user has himself or by one of ``roles``."""
        return frozenset(among) & user.scopes_with(self.roles(user, session))


def narrowed(asked: frozenset[str], session: AuthSession, user: User) -> frozenset[str]:
    """The scopes that were asked for; without any those of the sign-in that the user still has.

    Raises ``InvalidScope`` (400) for a scope that was not granted at the sign-in, and when none is left.
    """
    had = frozenset(session.scopes)
    if not asked <= had:
        raise InvalidScope("A refresh gives no scope that was not granted at the sign-in.")
    granted = (asked or had) & user.all_scopes
    if asked and not granted:
        raise InvalidScope("The user has none of the scopes that were asked for.")
    return granted
