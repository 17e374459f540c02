"""The gate in front of an endpoint, on real servers: order, refusals, charges, fields."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Depends
from pydantic import BaseModel, ConfigDict
from valkey.asyncio import Valkey

from app.core.context import current_context
from app.core.http import APIRouter, Ticket, api_worker, enforce_all_policies
from app.core.policies import CostRequest, JobConfig, RateLimit, Security
from app.settings import Settings
from tests.apps import client_of
from tests.core.http.gated import NOBODY, READER, WRITER, as_, routed
from tests.servers import PrivateServer

pytestmark = pytest.mark.usefixtures("clean_store")
LONG = 86_400.0 * 300


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str


def router_with(config: JobConfig, name: str = "items") -> APIRouter:
    router = APIRouter()
    gate = enforce_all_policies(name, config)

    @router.get("/items/{item_id}", dependencies=[gate])
    @api_worker(config)
    async def read(item_id: int) -> dict[str, Any]:
        context = current_context()
        return {"item": item_id, "caller": context.user_id, "policy": context.policy}

    @router.post("/items", dependencies=[gate])
    @api_worker(config)
    async def create(item: Item) -> Item:
        return item

    return router


def limited(limit: int, **options: Any) -> JobConfig:
    return JobConfig(rate_limit=RateLimit.fixed_window(limit=limit, window=LONG, **options))


class TestAuthentication:
    async def test_a_known_token_reaches_the_handler_with_its_principal(self, settings: Settings) -> None:
        async with routed(settings, router_with(JobConfig())) as client:
            answer = await client.get("/items/7", headers=as_(READER))
        assert answer.status_code == 200
        assert answer.json() == {"item": 7, "caller": "reader", "policy": "items"}

    async def test_no_token_is_401_with_a_bare_challenge(self, settings: Settings) -> None:
        async with routed(settings, router_with(JobConfig())) as client:
            answer = await client.get("/items/7")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]

    @pytest.mark.parametrize(
        "header", ["Bearer stranger", "Basic cmVhZGVyOg==", "Bearer", "reader", "Bearer \xff"]
    )
    async def test_credentials_that_are_not_good_are_401(self, settings: Settings, header: str) -> None:
        async with routed(settings, router_with(JobConfig())) as client:
            answer = await client.get("/items/7", headers={b"Authorization": header.encode("latin-1")})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")

    async def test_two_authorization_headers_are_refused(self, settings: Settings) -> None:
        async with routed(settings, router_with(JobConfig())) as client:
            both = [("Authorization", "Bearer reader"), ("Authorization", "Bearer writer")]
            answer = await client.get("/items/7", headers=both)
        assert answer.status_code == 400

    async def test_bad_credentials_are_charged_to_the_network_until_429(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        settings = make_settings(login={"failed_auth_per_ip": 3})
        async with routed(settings, router_with(JobConfig())) as client:
            statuses = [
                (await client.get("/items/7", headers={"Authorization": "Bearer x"})).status_code
                for _ in range(5)
            ]
            assert statuses == [401, 401, 401, 429, 429]
            assert (await client.get("/items/7", headers=as_(READER))).status_code == 200

    async def test_a_public_endpoint_serves_anonymous_callers_and_checks_a_token_that_is_shown(
        self, settings: Settings
    ) -> None:
        async with routed(settings, router_with(JobConfig.public())) as client:
            assert (await client.get("/items/7")).json()["caller"] is None
            assert (await client.get("/items/7", headers=as_(READER))).json()["caller"] == "reader"
            assert (await client.get("/items/7", headers={"Authorization": "Bearer x"})).status_code == 401


class TestAuthorisation:
    CONFIG = JobConfig(security=Security(scopes=("read:records", "write:records")))
    ROLES = JobConfig(security=Security(roles=("db_reader", "admin")))

    async def test_a_missing_scope_is_403_that_names_it(self, settings: Settings) -> None:
        async with routed(settings, router_with(self.CONFIG)) as client:
            answer = await client.get("/items/7", headers=as_(READER))
            assert (await client.get("/items/7", headers=as_(WRITER))).status_code == 200
        assert answer.status_code == 403
        assert answer.json()["missing_scopes"] == ["write:records"]
        assert (
            'error="insufficient_scope", scope="read:records write:records"'
            in answer.headers["www-authenticate"]
        )

    async def test_any_one_of_the_roles_is_enough(self, settings: Settings) -> None:
        async with routed(settings, router_with(self.ROLES)) as client:
            assert (await client.get("/items/7", headers=as_(READER))).status_code == 200
            assert (await client.get("/items/7", headers=as_(NOBODY))).status_code == 403

    async def test_a_403_is_charged_to_the_callers_attempts(self, settings: Settings) -> None:
        config = JobConfig(
            security=Security(scopes=("write:records",)),
            rate_limit=RateLimit.fixed_window(limit=2, window=LONG),
        )
        async with routed(settings, router_with(config)) as client:
            statuses = [(await client.get("/items/7", headers=as_(READER))).status_code for _ in range(3)]
            assert statuses == [403, 403, 429]
            assert (await client.get("/items/7", headers=as_(WRITER))).status_code == 200


class TestLimits:
    async def test_an_admitted_answer_carries_the_fields(self, settings: Settings) -> None:
        config = JobConfig(
            rate_limit=(
                RateLimit.fixed_window("user", limit=5, window=LONG),
                RateLimit.token_bucket("ip", max_tokens=9, refill_rate=3, scope="ip"),
            )
        )
        async with routed(settings, router_with(config)) as client:
            answer = await client.get("/items/7", headers=as_(READER))
        assert answer.headers["ratelimit-policy"] == '"user";q=5;w=25920000, "ip";q=9;w=3'
        assert answer.headers["ratelimit"].startswith('"user";r=4;t=')
        assert answer.headers["ratelimit"].endswith(', "ip";r=8;t=1')
        assert "retry-after" not in answer.headers

    async def test_a_limit_used_up_is_429_that_names_every_limit_and_the_wait(
        self, settings: Settings
    ) -> None:
        config = JobConfig(
            rate_limit=(RateLimit.throttle("a", rate=1, per=100), RateLimit.throttle("b", rate=1, per=1000))
        )
        async with routed(settings, router_with(config)) as client:
            await client.get("/items/7", headers=as_(READER))
            answer = await client.get("/items/7", headers=as_(READER))
        problem = answer.json()
        assert answer.status_code == 429
        assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
        assert (problem["policy"], problem["violated-policies"]) == ("items", ["a", "b"])
        assert 990 <= int(answer.headers["retry-after"]) <= 1101
        assert '"b";r=0;t=' in answer.headers["ratelimit"]

    async def test_exactly_the_quota_of_many_at_once_passes(self, settings: Settings) -> None:
        async with routed(settings, router_with(limited(7))) as client:
            answers = await asyncio.gather(*(client.get("/items/7", headers=as_(READER)) for _ in range(70)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * 63

    async def test_a_wrong_body_stays_charged_to_an_attempt_limit(self, settings: Settings) -> None:
        async with routed(settings, router_with(limited(2))) as client:
            bad = [
                (await client.post("/items", headers=as_(READER), json={"nom": 1})).status_code
                for _ in range(3)
            ]
        assert bad == [422, 422, 429]

    async def test_malformed_json_does_not_pass_by_the_gate(self, settings: Settings) -> None:
        headers = {**as_(READER), "Content-Type": "application/json"}
        async with routed(settings, router_with(limited(1))) as client:
            statuses = [
                (await client.post("/items", headers=headers, content=b"{")).status_code for _ in range(2)
            ]
        assert statuses == [422, 429]

    async def test_a_wrong_method_is_405_and_charges_nothing(self, settings: Settings) -> None:
        async with routed(settings, router_with(limited(1))) as client:
            wrong = await client.delete("/items/7", headers=as_(READER))
            assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
            assert wrong.headers["content-type"] == "application/problem+json"
            assert (await client.get("/items/7", headers=as_(READER))).status_code == 200

    async def test_callers_of_one_ipv6_network_share_its_limit_and_others_do_not(
        self, settings: Settings
    ) -> None:
        router = router_with(
            JobConfig.public(rate_limit=RateLimit.fixed_window("ip", limit=1, window=LONG, scope="ip"))
        )
        async with routed(settings, router) as client:
            app = client._transport.app  # type: ignore[attr-defined]
            statuses = []
            for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"):
                async with client_of(app, address) as other:
                    statuses.append((await other.get("/items/7")).status_code)
        assert statuses == [200, 429, 200]

    async def test_a_cost_function_sees_the_query_and_is_charged(self, settings: Settings) -> None:
        def cost(request: CostRequest) -> int:
            return int(request.query.get("n", ["1"])[0])

        async with routed(settings, router_with(limited(10, cost=cost))) as client:
            first = await client.get("/items/7?n=6", headers=as_(READER))
            assert '"user";r=4' in first.headers["ratelimit"]
            assert (await client.get("/items/7?n=5", headers=as_(READER))).status_code == 429
            too_much = await client.get("/items/7?n=11", headers=as_(READER))
            nonsense = await client.get("/items/7?n=many", headers=as_(READER))
        assert too_much.status_code == 422
        assert too_much.json()["reason"] == "cost_exceeds_limit"
        assert "retry-after" not in too_much.headers
        assert nonsense.status_code == 422

    @pytest.mark.parametrize(
        ("scope", "second"),
        [("route", 429), ("global", 429), ("user", 200), (("ip", "user"), 200), ("ip", 429)],
    )
    async def test_a_scope_says_who_is_counted_together(
        self, settings: Settings, scope: Any, second: int
    ) -> None:
        async with routed(settings, router_with(limited(1, scope=scope))) as client:
            assert (await client.get("/items/7", headers=as_(READER))).status_code == 200
            assert (await client.get("/items/7", headers=as_(WRITER))).status_code == second

    async def test_one_gate_on_two_routes_is_one_bucket(self, settings: Settings) -> None:
        async with routed(settings, router_with(limited(1))) as client:
            assert (await client.get("/items/7", headers=as_(READER))).status_code == 200
            assert (await client.post("/items", headers=as_(READER), json={"name": "n"})).status_code == 429


class TestWhereAGateStands:
    @staticmethod
    def handler(router: APIRouter, config: JobConfig, **options: Any) -> None:
        @router.get("/things", **options)
        @api_worker(config)
        async def things() -> dict[str, str | None]:
            return {"policy": current_context().policy}

    async def test_on_a_router(self, settings: Settings) -> None:
        config = JobConfig()
        router = APIRouter(dependencies=[enforce_all_policies("by_router", config)])
        self.handler(router, config)
        async with routed(settings, router) as client:
            assert (await client.get("/things")).status_code == 401
            assert (await client.get("/things", headers=as_(READER))).json() == {"policy": "by_router"}

    async def test_on_an_include_and_one_route_may_have_another_gate_under_each_prefix(
        self, settings: Settings
    ) -> None:
        config, inner, outer = JobConfig(), APIRouter(), APIRouter()
        self.handler(inner, config)
        outer.include_router(inner, prefix="/a", dependencies=[enforce_all_policies("first", config)])
        outer.include_router(inner, prefix="/b", dependencies=[enforce_all_policies("second", config)])
        async with routed(settings, outer) as client:
            assert (await client.get("/a/things", headers=as_(READER))).json() == {"policy": "first"}
            assert (await client.get("/b/things", headers=as_(READER))).json() == {"policy": "second"}

    async def test_the_dependency_hands_out_the_ticket(self, settings: Settings) -> None:
        config, router = JobConfig(), APIRouter()
        gate = enforce_all_policies("ticketed", config)

        @router.get("/ticket", dependencies=[gate])
        @api_worker(config)
        async def ticket(found: Ticket = Depends(gate.dependency)) -> dict[str, str]:
            assert found.principal is not None
            return {"name": found.name, "caller": found.principal.id}

        async with routed(settings, router) as client:
            assert (await client.get("/ticket", headers=as_(READER))).json() == {
                "name": "ticketed",
                "caller": "reader",
            }


async def test_a_body_beyond_the_endpoints_own_cap_is_413(settings: Settings) -> None:
    async with routed(settings, router_with(JobConfig(max_body=10))) as client:
        small = await client.post(
            "/items",
            headers=as_(READER),
            content=b'{"a":1}',
        )
        large = await client.post("/items", headers=as_(READER), json={"name": "x" * 20})
    assert small.status_code == 422
    assert large.status_code == 413
    assert large.headers["content-type"] == "application/problem+json"


async def test_one_script_call_serves_a_request(
    make_settings: Callable[..., Settings], private_valkey: PrivateServer
) -> None:
    """On a Valkey of its own: the shared one also counts what the other workers ask."""
    config = JobConfig(
        rate_limit=(
            RateLimit.token_bucket("user", max_tokens=50, refill_rate=1),
            RateLimit.fixed_window("ip", limit=90, window=60, scope="ip"),
        )
    )
    settings = make_settings(valkey_url=private_valkey.url)
    async with (
        routed(settings, router_with(config)) as client,
        Valkey.from_url(private_valkey.url) as valkey,
    ):
        await client.get("/items/7", headers=as_(READER))
        await valkey.config_resetstat()
        for _ in range(20):
            assert (await client.get("/items/7", headers=as_(READER))).status_code == 200
        stats: Any = await valkey.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 20


async def test_a_405_names_every_method_of_the_path(settings: Settings) -> None:
    config, router = JobConfig(), APIRouter()
    gate = enforce_all_policies("both", config)
    for method in ("GET", "POST"):

        @router.api_route("/both", methods=[method], dependencies=[gate], name=method)
        @api_worker(config)
        async def handler() -> None: ...

    async with routed(settings, router) as client:
        assert (await client.delete("/both")).headers["allow"] == "GET, POST"
