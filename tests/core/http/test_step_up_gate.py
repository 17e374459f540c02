"""Step-up (RFC 9470) through the gate and by hand: who is challenged, and what that costs him."""

from time import time

import pytest
from fastapi import Depends

from app.core.context import Principal
from app.core.http import (
    APIRouter,
    TokenVerifier,
    api_worker,
    enforce_all_policies,
    require_mfa,
    require_recent_sign_in,
)
from app.core.policies import JobConfig, RateLimit, Security
from app.settings import Settings
from tests.core.http.gated import NamedTokens, as_, routed

pytestmark = pytest.mark.usefixtures("clean_store")
STRONG = JobConfig(
    security=Security(mfa=True, max_age=86_400),
    rate_limit=RateLimit.fixed_window(limit=3, window=86_400.0 * 300),
)
CHALLENGE = 'Bearer error="insufficient_user_authentication", acr_values="mfa", max_age="86400"'
FRESH, STALE = time() - 10, time() - 90_000
STRONG_CALLER = Principal("strong", methods=("pwd", "otp", "mfa"), authenticated_at=FRESH)
WEAK_CALLER = Principal("weak", methods=("pwd",), authenticated_at=FRESH)
OLD_CALLER = Principal("old", methods=("pwd", "otp", "mfa"), authenticated_at=STALE)
CALLERS = (STRONG_CALLER, WEAK_CALLER, OLD_CALLER)


def router() -> APIRouter:
    router = APIRouter()

    @router.get("/gated", dependencies=[enforce_all_policies("gated", STRONG)])
    @api_worker(STRONG)
    async def gated() -> str:
        return "done"

    @router.get("/mfa", dependencies=[Depends(require_mfa(max_age=86_400))])
    async def second_factor() -> str:
        return "done"

    @router.get("/recent", dependencies=[Depends(require_recent_sign_in(86_400))])
    async def recent() -> str:
        return "done"

    return router


async def test_who_proved_too_little_or_too_long_ago_is_challenged(settings: Settings) -> None:
    services = {TokenVerifier: NamedTokens(*CALLERS)}
    by_hand = {"/mfa": "guarded by hand", "/recent": "guarded by hand"}
    async with routed(settings, router(), services=services, open_routes=by_hand) as client:
        statuses = {
            path: [(await client.get(path, headers=as_(caller))).status_code for caller in CALLERS]
            for path in ("/gated", "/mfa", "/recent")
        }
        assert statuses == {"/gated": [200, 401, 401], "/mfa": [200, 401, 401], "/recent": [200, 200, 401]}
        for path in ("/gated", "/mfa"):
            answer = await client.get(path, headers=as_(WEAK_CALLER))
            assert answer.headers["www-authenticate"] == CHALLENGE
            assert answer.headers["content-type"] == "application/problem+json"
            body = answer.json()
            assert (body["error"], body["acr_values"], body["max_age"]) == (
                "insufficient_user_authentication", "mfa", 86_400,
            )  # fmt: skip
        # Two challenges and a request: the refusals were charged as any attempt is.
        refused = [(await client.get("/gated", headers=as_(WEAK_CALLER))).status_code for _ in range(2)]
        assert refused == [401, 429]
