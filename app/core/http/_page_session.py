"""Who looks at a page: the person whose session the cookie names."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from app.core.context import Principal
from app.core.errors import NotAuthenticated
from app.core.http._page_cookies import SESSION, PageCookies


class PageVerifier(Protocol):
    """Knows the sessions of pages, as ``TokenVerifier`` knows tokens: ``verify`` raises NotAuthenticated for a cookie without a session,
    and KeysNotLoaded for one that must be looked up first: its ``load`` is awaited, and ``verify`` called once more.
    """

    def verify(self, token: str) -> Principal:
        """Local and quick: no I/O. The principal has the session's id, so that ADMIT asks whether it has ended."""


class PageGate(NamedTuple):
    """What gates ask under ``/ui`` when a request has no ``Authorization``."""

    cookies: PageCookies
    sessions: PageVerifier

    def principal(self, scope: Mapping[str, Any]) -> Principal:
        """The cookie's. Raises NotAuthenticated, KeysNotLoaded."""
        token = self.cookies.read(scope, SESSION)
        if token is None:
            raise NotAuthenticated("This page needs you to be signed in.")
        return self.sessions.verify(token)
