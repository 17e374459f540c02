"""Small gated applications for tests: real servers, real gates, tokens that name their principal."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx2
from fastapi import FastAPI

from app.core.context import Principal
from app.core.http import APIRouter, Platform, TokenVerifier
from app.core.security import InvalidToken
from app.registry import Feature
from app.settings import Settings
from tests.gated import serving

READER = Principal("reader", scopes=frozenset({"read:records"}), roles=frozenset({"db_reader"}))
WRITER = Principal("writer", scopes=frozenset({"read:records", "write:records"}))
NOBODY = Principal("nobody")


class NamedTokens:
    """A TokenVerifier whose tokens are names: the tests of the gate are not the tests of JWTs."""

    def __init__(self, *principals: Principal) -> None:
        self._known = {principal.id: principal for principal in principals}

    def verify(self, token: str) -> Principal:
        if token not in self._known:
            raise InvalidToken("unknown name")
        return self._known[token]


def feature(router: APIRouter, services: Mapping[type[Any], Any] | None = None, **options: Any) -> Feature:
    def provides(_: Platform, __: Any) -> Mapping[type[Any], Any]:
        return {TokenVerifier: NamedTokens(READER, WRITER, NOBODY), **(services or {})}

    return Feature(name="test", router=router, provides=provides, **options)


@contextlib.asynccontextmanager
async def routed(
    settings: Settings,
    router: APIRouter,
    *,
    address: str = "192.0.2.1",
    change: Callable[[FastAPI], None] = lambda app: None,
    **options: Any,
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application that has just this router."""
    only = feature(router, **options)
    async with serving(settings, only, tokens=None, address=address, change=change) as service:
        yield service.client


def as_(principal: Principal) -> dict[str, str]:
    return {"Authorization": f"Bearer {principal.id}"}
