"""Apps of chosen features, and tokens they accept: for the tests of one feature's routes."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI

from app.core.http import Platform, TokenVerifier
from app.core.resilience import SystemClock
from app.core.security import TokenKey, TokenService
from app.main import create_app
from app.registry import Feature
from app.settings import Settings
from tests.apps import client_of, running

TOKENS = TokenService(
    [TokenKey.from_secret("a key of the tests, thirty-two bytes or more")],
    issuer="tests",
    audience="tests",
    clock=SystemClock(),
)


def bearer(user: UUID, *, scopes: Iterable[str] = (), roles: Iterable[str] = ()) -> dict[str, str]:
    """The header of a caller with these rights."""
    token = TOKENS.issue(str(user), scopes=scopes, roles=roles).token
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Service:
    """A running app and a client of it."""

    app: FastAPI
    client: httpx2.AsyncClient

    @property
    def platform(self) -> Platform:
        platform: Platform = self.app.state.gatehouse
        return platform


@asynccontextmanager
async def serving(
    settings: Settings,
    *features: Feature,
    tokens: TokenVerifier | None = TOKENS,
    address: str = "127.0.0.1",
    change: Callable[[FastAPI], None] = lambda app: None,
) -> AsyncIterator[Service]:
    """These features and nothing else, started; closed when the block ends.

    ``tokens`` is None where a feature brings its own; the client asks from ``address``; ``change`` may replace parts before the start.
    """

    def verifier(_platform: Platform, _settings: Any) -> dict[type[Any], Any]:
        return {TokenVerifier: tokens} if tokens is not None else {}

    app = create_app(settings, registry=(Feature(name="tokens", provides=verifier), *features))
    change(app)
    async with running(app), client_of(app, address) as client:
        yield Service(app, client)
