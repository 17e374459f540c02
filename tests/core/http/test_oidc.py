"""Tokens of an OpenID Connect issuer over HTTP: through gates, with rights that are mapped, refusals and an outage."""

import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from app.builtin.accounts.router.users import router as users
from app.builtin.accounts.service import provide_accounts
from app.core import APIRouter, CurrentPrincipal, JobConfig, Security, api_worker, enforce_all_policies
from app.core.errors import ConfigurationError
from app.core.security import oidc_user_id
from app.main import create_app
from app.registry import Feature
from app.settings import OidcNames, OidcSettings, Settings
from tests.core.security.issuers import AUDIENCE, Issuer
from tests.core.security.supabase import ANOTHER, ELLIPTIC, jwk
from tests.gated import serving
from tests.upstream import reply, serving_upstream

READ = JobConfig(security=Security(scopes=("read:records",), roles=("db_reader",)))
SCOPES = OidcNames(claim="scope", prefix="gh:", names={"read": "read:records"})
ROLES = OidcNames(claim=["realm_access", "roles"], names={"reader": "db_reader"})

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


def routes() -> APIRouter:
    router = APIRouter()

    @router.get("/mine", dependencies=[enforce_all_policies("mine", READ)])
    @api_worker(READ)
    async def read(caller: CurrentPrincipal) -> str:
        return caller.id

    router.include_router(users)
    return router


async def test_from_outage_to_service_and_what_is_refused(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.security._remote_keys.RETRY_S", 0.0)
    accounts = Feature(name="accounts", router=routes(), provides=provide_accounts)
    async with serving_upstream() as upstream:
        issuer = Issuer(upstream)
        trusted = OidcSettings(
            issuer=issuer.url, audience=AUDIENCE, jwks_url=f"{issuer.url}/keys", scopes=SCOPES, roles=ROLES
        )
        upstream.always(reply(status=500))
        async with serving(make_settings(oidc=[trusted]), accounts, tokens=None) as service:

            async def ask(path: str = "/mine", **changes: Any) -> httpx2.Response:
                text = issuer.token(**{"now": time.time(), **changes})
                return await service.client.get(path, headers={"Authorization": f"Bearer {text}"})

            down = await ask()
            assert (down.status_code, "retry-after" in down.headers) == (503, True)
            issuer.publish(jwk(ELLIPTIC, "first"))
            served = await ask()
            assert (served.status_code, served.json()) == (200, str(oidc_user_id(issuer.url, "user|1")))
            for changes in (
                {"key": ANOTHER},
                {"nonce": "n"},
                {"typ": "JWT"},
                {"aud": "other"},
                {"kid": "../x"},
            ):
                refused = await ask(**changes)
                assert (refused.status_code, refused.headers["content-type"]) == (
                    401,
                    "application/problem+json",
                )
                assert 'error="invalid_token"' in refused.headers["www-authenticate"]
            poor = await ask(scope="read:records admin", roles=["db_reader"])
            assert (poor.status_code, 'scope="read:records"' in poor.headers["www-authenticate"]) == (
                403,
                True,
            )
            assert (await ask("/users/me")).status_code == 401


async def test_a_role_that_there_is_not_stops_the_start(make_settings: Callable[..., Settings]) -> None:
    given = OidcNames(claim="scope", names={"x": "no:such"})
    oidc = [OidcSettings(issuer="https://id.example", audience="a", scopes=given)]
    accounts = Feature(name="accounts", provides=provide_accounts)
    with pytest.raises(ConfigurationError, match=r"https://id\.example is to give 'no:such'"):
        create_app(make_settings(oidc=oidc), registry=[accounts])
