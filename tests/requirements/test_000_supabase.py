"""Document 000: users of Supabase."""

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Depends, FastAPI

from app.builtin.accounts.service import provide_accounts
from app.core import APIRouter
from app.core.context import Principal
from app.core.http import require_scope, roles_required
from app.core.security import TokenService
from app.registry import Feature
from app.settings import Settings
from tests.apps import served
from tests.core.security.supabase import ELLIPTIC, USER, jwk, key_set, token
from tests.gated import serving


async def test_000_line_8_users_of_supabase_are_validated_and_nobody_else_waits_for_it(
    make_settings: Callable[..., Settings], clean_store: None
) -> None:
    project, asked, published = FastAPI(), asyncio.Event(), asyncio.Event()

    @project.get("/auth/v1/.well-known/jwks.json")
    async def keys() -> Any:
        asked.set()
        await published.wait()
        return key_set(jwk(ELLIPTIC, "first"))

    router = APIRouter()

    @router.get("/data")
    async def read(user: Annotated[Principal, Depends(require_scope("read:records"))]) -> str:
        return user.id

    @router.get("/report", dependencies=[Depends(roles_required(["db_reader"]))])
    async def report() -> str:
        return "report"

    by_hand = dict.fromkeys(("/data", "/report"), "guarded by hand")
    features = (
        Feature(name="accounts", provides=provide_accounts),
        Feature(name="example", router=router, open_routes=by_hand),
    )
    async with served(project) as port:
        url = f"http://127.0.0.1:{port}"
        settings = make_settings(supabase_url=url)
        async with serving(settings, *features, tokens=None) as service:
            theirs = {"Authorization": f"Bearer {token(f'{url}/auth/v1', now=time.time())}"}
            waiting = asyncio.create_task(service.client.get("/data", headers=theirs))
            await asked.wait()
            local = service.platform.require(TokenService).issue(str(uuid4()), scopes=["read:records"])
            ours = {"Authorization": f"Bearer {local.token}"}
            assert (await service.client.get("/data", headers=ours)).status_code == 200
            assert not waiting.done()
            published.set()
            answer = await waiting
            assert (answer.status_code, answer.json()) == (200, str(USER))
            assert (await service.client.get("/report", headers=theirs)).json() == "report"
            assert (await service.client.get("/report", headers=ours)).status_code == 403
