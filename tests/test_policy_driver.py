"""Every gated route of the service is driven to every refusal of its policy; and the driver finds what cannot be reached."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import Response

from app.core import APIRouter, JobConfig, RateLimit, Security, api_worker, enforce_all_policies
from app.core.db import Database
from app.core.policies import Credits, Idempotency, Quota, ResponseCache
from app.core.security import known_roles, known_scopes
from app.registry import Feature
from app.settings import Settings
from tests.credited import CREDITS, give
from tests.gated import Service, bearer, serving
from tests.policy_driver import Driver, Sample, Unreached, producible
from tests.sites import Site, strict, whole_site
from tests.test_bad_input import GATED, SAFEST_FIRST, Endpoint, case, path_of

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


def sample_of(site: Site, endpoint: Endpoint) -> Sample:
    body: dict[str, Any] = {}
    if endpoint.json is not None:
        body = {"json": endpoint.json}
    elif endpoint.form is not None:
        body = {"data": endpoint.form}
    spare = endpoint.path.replace("{record_id}", str(uuid4())) if "{record_id}" in endpoint.path else None
    return Sample(
        endpoint.method,
        path_of(site, endpoint),
        body,
        spare if endpoint.method == "DELETE" else None,
        not endpoint.missing,
    )


def config_of(site: Site, endpoint: Endpoint) -> JobConfig:
    (gate,) = (
        route.gate
        for route in site.platform.routes
        if route.path == endpoint.path and endpoint.method in route.methods
    )
    assert gate is not None
    return gate.config


TOLD = {
    "retry-after",
    "ratelimit",
    "ratelimit-policy",
    "www-authenticate",
    "etag",
    "age",
    "cache-status",
    "vary",
}


async def assert_driven(site: Site, documented: Any, endpoint: Endpoint) -> None:
    def rights(user: UUID, scopes: Any = known_scopes, roles: Any = known_roles) -> Mapping[str, str]:
        return site.bearer(scopes, roles, user)

    config = config_of(site, endpoint)
    driver = Driver(site.client, site.platform, rights, site.owner)
    sample = sample_of(site, endpoint)
    reached = await driver.drive(config, sample)
    assert set(reached) == sample.producible(config)
    operation = documented[endpoint.path][endpoint.method.lower()]["responses"]
    for status, answer in reached.items():
        assert str(status) in operation
        fields = {name.lower() for name in operation[str(status)]["headers"]}
        assert TOLD & set(answer.headers) <= fields


async def test_every_refusal_of_every_route_can_be_reached(settings: Settings, database: Database) -> None:
    """One site for all: to start it for each costs more than to drive one."""
    async with whole_site(settings, database) as site:
        variables = strict(site.platform)
    async with whole_site(settings.model_copy(update={"policy_variables": variables}), database) as site:
        documented = (await site.client.get("/openapi.json")).json()["paths"]
        for endpoint in sorted(GATED, key=lambda endpoint: SAFEST_FIRST.index(endpoint.method)):
            with case(endpoint):
                await assert_driven(site, documented, endpoint)


RICH = UUID("00000000-0000-7000-8000-00000000000b")
RIGHT = Security(scopes=("read:records",))
LIMIT = RateLimit.token_bucket("user", max_tokens=5, refill_rate=0.01)
READ = JobConfig(security=RIGHT, rate_limit=LIMIT, cache=ResponseCache(ttl=60), credits=Credits(cost=2))
WRITE = JobConfig(security=RIGHT, rate_limit=LIMIT, idempotency=Idempotency(), credits=Credits(cost=2))


def toy(method: str, config: JobConfig, *, cache_control: str | None = None) -> Feature:
    router = APIRouter()

    @router.api_route("/toy", methods=[method], dependencies=[enforce_all_policies("toy", config)])
    @api_worker(config)
    async def handle(response: Response) -> dict[str, str]:
        if cache_control is not None:
            response.headers["Cache-Control"] = cache_control
        return {}

    return Feature(name="toy", router=router)


def driver_of(service: Service) -> Driver:
    def rights(user: UUID, scopes: Any = ("read:records",), roles: Any = ()) -> Mapping[str, str]:
        return bearer(user, scopes=scopes, roles=roles)

    return Driver(service.client, service.platform, rights, RICH)


@pytest.mark.parametrize(
    ("config", "method", "statuses"),
    [(READ, "GET", {304, 401, 402, 403, 429}), (WRITE, "POST", {401, 402, 403, 409, 429})],
)
async def test_all_six_are_reached(
    settings: Settings, database: Database, config: JobConfig, method: str, statuses: set[int]
) -> None:
    await give(database, str(RICH), 1000)
    async with serving(settings, CREDITS, toy(method, config)) as service:
        assert set(await driver_of(service).drive(config, Sample(method, "/toy"))) == statuses


async def test_a_status_that_cannot_be_reached_is_found(settings: Settings, database: Database) -> None:
    await give(database, str(RICH), 1000)
    async with serving(settings, CREDITS, toy("GET", READ, cache_control="no-store")) as service:
        with pytest.raises(Unreached, match=r"^GET /toy: no 304; seen, with how often: \{200: 1\}$"):
            await driver_of(service).drive(READ, Sample("GET", "/toy"))


async def test_a_limit_that_nobody_enforces_is_found(settings: Settings) -> None:
    """The policy that is asked about is not the one that is served."""
    said = JobConfig(security=RIGHT, rate_limit=LIMIT)
    async with serving(settings, toy("GET", JobConfig(security=RIGHT, rate_limit=None))) as service:
        with pytest.raises(Unreached, match="no 429"):
            await driver_of(service).drive(said, Sample("GET", "/toy"))


@pytest.mark.parametrize(
    ("config", "method", "statuses"),
    [
        (JobConfig(), "GET", {401, 429}),
        (JobConfig(rate_limit=None), "GET", {401}),
        (JobConfig(rate_limit=None, quota=Quota(per="day", limit=1)), "GET", {401, 429}),
        (JobConfig(shadow=True, credits=Credits()), "GET", {401}),
        (JobConfig(credits=Credits(cost=0)), "GET", {401, 429}),
        (READ, "GET", {304, 401, 402, 403, 429}),
        (READ, "POST", {401, 402, 403, 429}),
        (WRITE, "PATCH", {401, 402, 403, 409, 429}),
        (WRITE, "DELETE", {401, 402, 403, 429}),
    ],
)
def test_what_a_policy_can_produce_follows_from_its_options(
    config: JobConfig, method: str, statuses: set[int]
) -> None:
    assert producible(config, method) == statuses
