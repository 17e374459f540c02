"""Signing in on a page: the service behind POST /auth/token, and a cookie in the place of tokens."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from app.builtin.accounts.service import MfaRequired, Opened, PageSessions, SecondStep, SignIn
from app.core.context import Principal
from app.core.db import AsyncSession
from app.core.errors import GatehouseError, NotFound
from app.core.http import AuditedRoute, Platform


class NoSecondStep(NotFound):
    """This service asks nobody for a code."""


class Entrance:
    """Begins sessions that a cookie holds. ``token`` is the new cookie's; ``old`` that of the session which the browser had until now and
    which ends: who signs in gets another cookie, whatever he came with.
    """

    def __init__(self, sign_in: SignIn, sessions: PageSessions, second: SecondStep | None) -> None:
        self._sign_in = sign_in
        self._sessions = sessions
        self._second = second

    @property
    def device_life_s(self) -> int:
        """Seconds that ``device`` is good for."""
        return self._sign_in.device_life_s

    async def with_password(
        self, db: AsyncSession, email: str, password: str, *, token: str, old: str | None, device: str | None
    ) -> str | None:
        """What the browser keeps to be known next time, as ``device``. Raises what ``SignIn.with_password`` raises."""
        opened = await self._sign_in.with_password(db, email, password, device=device)
        await self._begin(db, opened, token, old)
        return opened.device

    async def with_code(
        self, db: AsyncSession, mfa_token: str, code: str, *, token: str, old: str | None
    ) -> None:
        """Raises what ``SecondStep.with_code`` raises; ``NoSecondStep`` (404) when there is none."""
        if self._second is None:
            raise NoSecondStep
        await self._begin(db, await self._second.with_code(db, mfa_token, code), token, old)

    async def _begin(self, db: AsyncSession, opened: Opened, token: str, old: str | None) -> None:
        # The tokens are given to nobody: nothing else can use this session.
        if old is not None:
            await self._sessions.end(db, old)
        await self._sessions.begin(db, UUID(str(opened.access.claims["sid"])), token)

    async def holder_of(self, token: str) -> Principal | None:
        """Who is signed in with this cookie, as the database has it now. Raises a DatabaseError (503)."""
        return await self._sessions.find(token)


def mfa_token_of(refusal: GatehouseError) -> str | None:
    """The token of a second step, if that is what is refused for."""
    extensions = refusal.extensions
    token = extensions.get("mfa_token") if extensions.get("error") == "mfa_required" else None
    return token if isinstance(token, str) else None


def device_of(refusal: GatehouseError) -> str | None:
    """What the browser keeps although there is a second step: its password was right."""
    return refusal.device if isinstance(refusal, MfaRequired) else None


class Link(NamedTuple):
    """A page in the list."""

    path: str
    title: str
    text: str


def links_for(caller: Principal, routes: Iterable[AuditedRoute]) -> list[Link]:
    """The pages that this caller may open, by title."""
    found = [
        Link(route.path, *route.menu)
        for route in routes
        if route.menu is not None
        and route.gate is not None
        and route.gate.config.security.refusal(caller) is None
    ]
    return sorted(found, key=lambda link: (link.title, link.path))


def provide_pages(platform: Platform, _: Any) -> Mapping[type[Any], Any]:
    """The services of this feature, by type. Accounts come before it in the registry."""
    second: SecondStep | None = platform.services.get(SecondStep)
    return {Entrance: Entrance(platform.require(SignIn), platform.require(PageSessions), second)}
