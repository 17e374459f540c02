import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from app.builtin.health.router import OPEN_ROUTES, router
from app.builtin.health.service import Health, database_pings
from app.core.http import Platform
from app.registry import Feature
from app.settings import Settings
from tests.gated import Service, bearer, serving


class Switch:
    """A ping that can be made to fail."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False

    async def __call__(self) -> None:
        self.calls += 1
        if self.fails:
            raise OSError("10.1.2.3 refused")


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
async def service(settings: Settings, clean_store: None, switch: Switch) -> AsyncIterator[Service]:
    def provide(platform: Platform, _settings: Any) -> dict[type[Any], Any]:
        platform.pings.update(database_pings(platform.database))
        health = Health(
            platform.pings, draining=lambda: platform.traffic.is_draining, clock=platform.clock, keep_s=0
        )
        return {Health: health}

    feature = Feature(
        name="health", router=router, provides=provide, pings={"switch": switch}, open_routes=OPEN_ROUTES
    )
    async with serving(settings, feature) as service:
        yield service


async def test_live_asks_nobody(service: Service, switch: Switch) -> None:
    answer = await service.client.get("/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert switch.calls == 0
    assert service.platform.database.pool_status().open == 0


@pytest.mark.parametrize("path", ["/ready", "/health"])
async def test_ready_names_what_it_checked(service: Service, path: str) -> None:
    answer = await service.client.get(path)
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "checks": {"database": "ok", "schema": "ok", "switch": "ok"},
    }


@pytest.mark.parametrize("path", ["/ready", "/health"])
async def test_a_failing_check_is_a_problem_that_names_it_and_nothing_else(
    service: Service, switch: Switch, path: str
) -> None:
    switch.fails = True
    answer = await service.client.get(path)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]
    assert answer.json()["failing"] == ["switch"]
    assert "10.1.2.3" not in answer.text
    switch.fails = False
    assert (await service.client.get(path)).status_code == 200


async def test_while_draining_ready_refuses_and_live_answers(service: Service) -> None:
    service.platform.traffic.drain()
    answer = await service.client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["failing"] == ["draining"]


async def test_many_probes_at_once_cost_few_pings(service: Service, switch: Switch) -> None:
    answers = await asyncio.gather(*(service.client.get("/ready") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert switch.calls < 50


async def test_the_databases_details_need_the_scope(service: Service) -> None:
    get = service.client.get
    assert (await get("/health/db")).json() == {"status": "ok"}
    plain = await get("/health/db", headers=bearer(uuid4(), scopes=("read:records",)))
    assert plain.json() == {"status": "ok"}
    full = (await get("/health/db", headers=bearer(uuid4(), scopes=("read:monitor",)))).json()
    assert set(full) == {"status", "latency_ms", "server_version", "pool", "alerts"}
    assert full["pool"]["limit"] >= full["pool"]["open"] >= 1
    assert full["alerts"] == []


async def test_a_bad_token_is_refused_even_where_none_is_needed(service: Service) -> None:
    answer = await service.client.get("/health/db", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401
