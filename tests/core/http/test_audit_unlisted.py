"""What FastAPI keeps out of the list of routes, or serves without the gate that a handler names: the boot audit sees it all the same."""

from typing import Annotated, Any

import pytest
from fastapi import Depends

from app.core.http import APIRouter, AuditError, api_worker, enforce_all_policies
from app.core.policies import JobConfig, Security
from app.settings import Settings
from tests.core.http.gated import routed

CONFIG = JobConfig()


async def findings(settings: Settings, router: APIRouter) -> str:
    with pytest.raises(AuditError) as refusal:
        async with routed(settings, router):
            pass
    return str(refusal.value)


class TestRefusals:
    @pytest.mark.parametrize("prefix", ["", "/pages"])
    async def test_a_frontend_off_the_open_list(self, settings: Settings, tmp_path: Any, prefix: str) -> None:
        router = APIRouter(prefix=prefix)
        router.frontend("/site", directory=tmp_path)
        assert f"frontend {prefix}/site: its files are not gated" in await findings(settings, router)
        async with routed(settings, router, open_routes={f"{prefix}/site": "static pages"}) as client:
            assert (await client.get(f"{prefix}/site/nothing")).status_code == 404

    async def test_a_frontend_of_the_application_itself(self, settings: Settings, tmp_path: Any) -> None:
        with pytest.raises(AuditError, match="frontend /: its files are not gated"):
            async with routed(
                settings, APIRouter(), change=lambda app: app.frontend("/", directory=tmp_path)
            ):
                pass

    async def test_a_parameter_that_asks_for_another_gates_ticket(self, settings: Settings) -> None:
        router, stricter = APIRouter(), JobConfig(security=Security(scopes=("never:granted",)))

        async def guarded(ticket: Annotated[Any, enforce_all_policies("inner", stricter)]) -> Any:
            return ticket

        @router.get("/things", dependencies=[enforce_all_policies("outer", CONFIG)])
        @api_worker(CONFIG)
        async def things(ticket: Annotated[Any, Depends(guarded)]) -> dict[str, str]:
            return {"gate": ticket.name}

        assert "the ticket of another gate (inner)" in await findings(settings, router)
