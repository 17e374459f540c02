"""Running issuers of OpenID Connect, and our verifier of their tokens, whose clock a test turns."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from app.core.context import Principal
from app.core.observability import EventHub, KeysEvent
from app.core.resilience import ManualClock
from app.core.security import KeysNotLoaded, NameMapping, OidcIssuer, OidcTokens, TokenKey, TokenService
from tests.core.security.supabase import ELLIPTIC, NOW, SigningKey, jwk, key_set, signed
from tests.upstream import Upstream, reply, serving_upstream

OUR_KEY = "our own secret of these tests, 32 bytes or more"
AUDIENCE = "https://api.example"
SCOPES = NameMapping(claim=("scope",), prefix="gh:", names={"read": "read:records", "write": "write:records"})
ROLES = NameMapping(claim=("realm_access", "roles"), names={"reader": "db_reader"})


def access_claims(issuer: str, now: float = NOW) -> dict[str, Any]:
    """Of an access token as RFC 9068 wants it."""
    at = int(now)
    return {
        "iss": issuer, "aud": AUDIENCE, "sub": "user|1", "client_id": "an-app", "iat": at, "exp": at + 3600, "jti": "token-1",
        "scope": "openid gh:read gh:delete", "realm_access": {"roles": ["reader", "admin"]}, "auth_time": at - 60, "amr": ["pwd", "otp"],
    }  # fmt: skip


class Issuer:
    """One that answers; ``tokens`` of ``Verifier`` accept its tokens."""

    def __init__(self, upstream: Upstream, **options: Any) -> None:
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{upstream.port}/realm"
        given = {"jwks_url": f"{self.url}/keys", "scopes": SCOPES, "roles": ROLES, **options}
        self.options = OidcIssuer(issuer=self.url, audience=AUDIENCE, **given)
        self.publish(jwk(ELLIPTIC, "first"))

    def publish(self, *keys: Mapping[str, Any]) -> None:
        self.upstream.always(reply(key_set(*keys)))

    def token(
        self,
        *,
        key: SigningKey | bytes = ELLIPTIC,
        kid: Any = "first",
        alg: Any = "ES256",
        typ: Any = "at+jwt",
        header: Mapping[str, Any] | None = None,
        now: float = NOW,
        **claims: Any,
    ) -> str:
        said = {"alg": alg, "kid": kid, "typ": typ, **(header or {})}
        return signed(said, {**access_claims(self.url, now), **claims}, key)


class Verifier:
    """Accepts our tokens and those of ``issuers``; ``fetches`` tells the outcome of each fetch."""

    def __init__(self, *issuers: Issuer) -> None:
        self.clock = ManualClock(start=NOW)
        self.fetches: list[str] = []
        hub = EventHub()
        hub.subscribe(KeysEvent, lambda event: self.fetches.append(event.outcome))
        self.others = [OidcTokens(each.options, clock=self.clock, hub=hub) for each in issuers]
        key = TokenKey.from_secret(OUR_KEY)
        self.tokens = TokenService(
            [key], issuer="gatehouse", audience="gatehouse", clock=self.clock, others=self.others
        )

    async def verify(self, text: str) -> Principal:
        """As the gate does it."""
        try:
            return self.tokens.verify(text)
        except KeysNotLoaded as missing:
            await missing.load()
            return self.tokens.verify(text)


@contextlib.asynccontextmanager
async def trusting(count: int = 1, **options: Any) -> AsyncIterator[tuple[Verifier, list[Issuer]]]:
    """A verifier of so many issuers, each with these options."""
    async with contextlib.AsyncExitStack() as stack:
        issuers = [
            Issuer(await stack.enter_async_context(serving_upstream()), **options) for _ in range(count)
        ]
        verifier = Verifier(*issuers)
        for other in verifier.others:
            stack.push_async_callback(other.aclose)
        yield verifier, issuers
