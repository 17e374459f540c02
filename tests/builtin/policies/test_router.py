"""``/policies`` for operators."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from app.builtin.policies.models import PolicySwitch
from app.builtin.policies.router import router as policies
from app.builtin.policies.service import provide_policies
from app.core import APIRouter, JobConfig, RateLimit, Security, api_worker, enforce_all_policies
from app.core.policies import Breaker, Switches
from app.registry import Feature
from app.settings import Settings
from tests.gated import Service, bearer, serving

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")

ADMIN = UUID("00000000-0000-7000-8000-00000000000a")
RIGHTS = bearer(ADMIN, scopes=("read:policies", "write:policies"), roles=("admin",))
SOME = JobConfig(
    security=Security(scopes=("read:records",)),
    rate_limit=RateLimit.token_bucket("user", max_tokens=5, refill_rate=1),
    circuit_breaker=Breaker(dependency="weather"),
)


def some_router() -> APIRouter:
    router = APIRouter()

    @router.get("/some", dependencies=[enforce_all_policies("some", SOME)])
    @api_worker(SOME)
    async def some() -> dict[str, str]:
        return {}

    @router.get("/by-hand")
    async def by_hand() -> dict[str, str]:
        return {}

    @router.get("/open")
    async def opened() -> dict[str, str]:
        return {}

    return router


FEATURES = (
    Feature(name="policies", router=policies, provides=provide_policies, models=(PolicySwitch,)),
    Feature(
        name="some",
        router=some_router(),
        open_routes={"/by-hand": "guarded by hand: it reads a signature", "/open": "a probe"},
    ),
)


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with serving(settings, *FEATURES) as service:
        yield service


async def listed(service: Service) -> dict[str, Any]:
    answer = await service.client.get("/policies", headers=RIGHTS)
    assert answer.status_code == 200
    return {route["path"]: route for route in answer.json()["items"]}


async def put(service: Service, path: str, body: dict[str, Any]) -> Any:
    return await service.client.put(path, json=body, headers=RIGHTS)


class TestList:
    async def test_every_route_is_there_with_its_policy(self, service: Service) -> None:
        routes = await listed(service)
        assert set(routes) == {route.path for route in service.platform.routes}
        some = routes["/some"]
        assert (some["kind"], some["name"], some["methods"], some["reason"]) == (
            "gated",
            "some",
            ["GET"],
            None,
        )
        assert some["config"]["rate_limit"][0]["quota"] == 5
        assert (some["overridden"], some["switch"]) == ([], None)

    async def test_routes_without_a_gate_say_why(self, service: Service) -> None:
        routes = await listed(service)
        assert (routes["/open"]["kind"], routes["/open"]["reason"]) == ("open", "a probe")
        assert routes["/by-hand"]["kind"] == "custom"
        assert routes["/open"]["config"] is None

    async def test_what_was_overridden_is_told_with_its_source(self, settings: Settings) -> None:
        changed = settings.model_copy(update={"policy_variables": {"POLICIES__SOME__TIMEOUT": "7"}})
        async with serving(changed, *FEATURES) as service:
            some = (await listed(service))["/some"]
        assert some["config"]["timeout"] == 7
        assert some["overridden"] == [
            {"option": "timeout", "default": 30, "effective": 7, "source": "POLICIES__SOME__TIMEOUT"}
        ]

    @pytest.mark.parametrize("path", ["/policies", "/policies/breakers"])
    async def test_it_is_for_admins_with_the_scope(self, service: Service, path: str) -> None:
        for headers in (bearer(ADMIN, scopes=("read:policies",)), bearer(ADMIN, roles=("admin",))):
            assert (await service.client.get(path, headers=headers)).status_code == 403
        assert (await service.client.get(path)).status_code == 401


class TestSwitch:
    async def test_a_policy_is_switched_off_and_on(self, service: Service) -> None:
        caller = bearer(ADMIN, scopes=("read:records",))
        answer = await put(service, "/policies/some/switch", {"enabled": False, "reason": " too slow "})
        assert answer.status_code == 200
        body = answer.json()
        assert (body["state"], body["reason"], body["by"], body["published"]) == (
            "off",
            "too slow",
            str(ADMIN),
            True,
        )
        refused = await service.client.get("/some", headers=caller)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "60"
        assert refused.json()["reason"] == "endpoint_disabled"
        assert "too slow" not in refused.text
        assert (await listed(service))["/some"]["switch"]["reason"] == "too slow"

        answer = await put(service, "/policies/some/switch", {"enabled": True, "reason": "mended"})
        assert answer.json()["state"] == "on"
        assert (await service.client.get("/some", headers=caller)).status_code == 200
        assert (await listed(service))["/some"]["switch"] is None

    async def test_a_disabled_endpoint_refuses_before_it_knows_who_asks(self, service: Service) -> None:
        await put(service, "/policies/some/switch", {"enabled": False, "reason": "x"})
        assert (await service.client.get("/some")).status_code == 503

    async def test_an_unknown_policy_is_404(self, service: Service) -> None:
        answer = await put(service, "/policies/nobody/switch", {"enabled": False, "reason": "x"})
        assert answer.status_code == 404

    async def test_the_switch_cannot_be_switched_off(self, service: Service) -> None:
        answer = await put(service, "/policies/policies_switch/switch", {"enabled": False, "reason": "x"})
        assert answer.status_code == 409

    @pytest.mark.parametrize(
        "body",
        [
            {"enabled": "false", "reason": "x"}, {"enabled": 0, "reason": "x"}, {"enabled": False}, {"reason": "x"},
            {"enabled": False, "reason": ""}, {"enabled": False, "reason": "  "}, {"enabled": False, "reason": "x" * 501},
            {"enabled": False, "reason": "a\x00b"}, {"enabled": False, "reason": "x", "by": "me"},
        ],
        ids=ascii,
    )  # fmt: skip
    async def test_a_body_of_the_wrong_shape_is_422(self, service: Service, body: dict[str, Any]) -> None:
        assert (await put(service, "/policies/some/switch", body)).status_code == 422

    async def test_a_process_that_starts_later_knows_it_even_after_a_flush(
        self, service: Service, settings: Settings
    ) -> None:
        await put(service, "/policies/some/switch", {"enabled": False, "reason": "x"})
        await service.platform.store.execute("FLUSHDB")
        async with serving(settings, *FEATURES) as later:
            assert later.platform.require(Switches).of("some") is not None
            assert (await later.client.get("/some")).status_code == 503


class TestBreakers:
    async def test_a_breaker_is_isolated_and_freed(self, service: Service) -> None:
        answer = await put(service, "/policies/breakers/weather", {"state": "isolated", "reason": "moving"})
        assert (answer.status_code, answer.json()["state"]) == (200, "isolated")
        (breaker,) = (await service.client.get("/policies/breakers", headers=RIGHTS)).json()["items"]
        assert (breaker["dependency"], breaker["state"], breaker["mode"]) == (
            "weather",
            "isolated",
            "isolated",
        )
        assert (breaker["switch"]["reason"], breaker["switch"]["by"]) == ("moving", str(ADMIN))
        refused = await service.client.get("/some", headers=bearer(ADMIN, scopes=("read:records",)))
        assert refused.status_code == 503

        await put(service, "/policies/breakers/weather", {"state": "auto", "reason": "moved"})
        (breaker,) = (await service.client.get("/policies/breakers", headers=RIGHTS)).json()["items"]
        assert (breaker["state"], breaker["mode"], breaker["switch"]) == ("closed", "auto", None)

    async def test_an_unknown_dependency_is_404_and_an_unknown_state_422(self, service: Service) -> None:
        answer = await put(service, "/policies/breakers/nobody", {"state": "auto", "reason": "x"})
        assert answer.status_code == 404
        answer = await put(service, "/policies/breakers/weather", {"state": "open", "reason": "x"})
        assert answer.status_code == 422
