"""A running key endpoint of a project, and our verifier of its tokens, whose clock a test turns."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from app.core.context import Principal
from app.core.observability import EventHub, KeysEvent
from app.core.resilience import ManualClock
from app.core.security import KeysNotLoaded, SupabaseTokens, TokenKey, TokenService
from tests.core.security.supabase import ELLIPTIC, NOW, jwk, key_set, token
from tests.upstream import Upstream, reply, serving_upstream

OUR_KEY = "our own secret of these tests, 32 bytes or more"


class Project:
    """``tokens`` accepts ours and the project's; ``fetches`` tells the outcome of each fetch."""

    def __init__(self, upstream: Upstream, secret: str | None) -> None:
        self.upstream = upstream
        self.clock = ManualClock(start=NOW)
        self.fetches: list[str] = []
        hub = EventHub()
        hub.subscribe(KeysEvent, lambda event: self.fetches.append(event.outcome))
        self.url = f"http://127.0.0.1:{upstream.port}"
        self.supabase = SupabaseTokens(self.url, clock=self.clock, hub=hub, secret=secret)
        self.tokens = TokenService(
            [TokenKey.from_secret(OUR_KEY)],
            issuer="gatehouse",
            audience="gatehouse",
            clock=self.clock,
            others=(self.supabase,),
        )
        self.publish(jwk(ELLIPTIC, "first"))

    def publish(self, *keys: Mapping[str, Any]) -> None:
        self.upstream.always(reply(key_set(*keys)))

    def token(self, **changes: Any) -> str:
        return token(self.supabase.issuer, **{"now": self.clock.time(), **changes})

    async def verify(self, text: str) -> Principal:
        """As the gate does it."""
        try:
            return self.tokens.verify(text)
        except KeysNotLoaded as missing:
            await missing.load()
            return self.tokens.verify(text)

    async def settled(self) -> None:
        """Whatever was begun in the background is done."""
        flight = self.supabase._keys._flight
        if flight is not None:
            await flight


@contextlib.asynccontextmanager
async def project_of(secret: str | None = None) -> AsyncIterator[Project]:
    async with serving_upstream() as upstream:
        project = Project(upstream, secret)
        try:
            yield project
        finally:
            await project.supabase.aclose()
