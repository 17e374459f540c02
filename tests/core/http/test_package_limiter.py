"""fastapi-limiter's RateLimiter on our buckets: who is counted, where, and what a refusal looks like; on real Valkey."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import fastapi
import httpx2
import pytest
from fastapi import Depends, HTTPException, Request, Response
from fastapi_limiter.decorators import skip_limiter
from fastapi_limiter.depends import RateLimiter as PackageRateLimiter
from pyrate_limiter import BucketFactory, Duration, Limiter, Rate, RateItem, SingleBucketFactory, StateBucket
from valkey.asyncio import Valkey

from app.core.http import APIRouter, CurrentPrincipal, RateLimiter, api_worker, enforce_all_policies
from app.core.observability import Event, PolicyEvent
from app.core.policies import JobConfig, RateLimit
from app.core.valkey import ValkeyClient
from app.settings import Settings
from tests.apps import client_of
from tests.core.http.gated import READER, WRITER, as_, routed
from tests.servers import PrivateServer

pytestmark = pytest.mark.usefixtures("clean_store")
OPEN = {"/api/*": "guarded by hand"}
DAY = Duration.DAY


def once() -> RateLimiter:
    return RateLimiter(limiter=Limiter(Rate(1, DAY)))


def open_router(
    *limiters: RateLimiter, router: fastapi.APIRouter | None = None, path: str = "/things", **options: Any
) -> APIRouter:
    """A route under an include, behind these limiters and no gate."""
    inner, outer = router or APIRouter(), APIRouter()

    @inner.get(path, dependencies=[Depends(limiter) for limiter in limiters], **options)
    async def things() -> str:
        return "served"

    outer.include_router(inner, prefix="/api")
    return outer


async def statuses(client: httpx2.AsyncClient, paths: Sequence[str], **options: Any) -> list[int]:
    return [(await client.get(path, **options)).status_code for path in paths]


async def from_address(client: httpx2.AsyncClient, address: str, path: str = "/api/things") -> int:
    async with client_of(client._transport.app, address) as other:  # type: ignore[attr-defined]
        status: int = (await other.get(path)).status_code
    return status


class TestWhoIsCounted:
    async def test_two_clients_have_a_bucket_each(self, settings: Settings) -> None:
        async with routed(settings, open_router(once()), open_routes=OPEN) as client:
            assert await statuses(client, ["/api/things"] * 2) == [200, 429]
            assert await from_address(client, "192.0.2.2") == 200
            assert await from_address(client, "192.0.2.1") == 429

    async def test_a_forged_forwarded_for_changes_nothing(self, settings: Settings) -> None:
        async with routed(settings, open_router(once()), open_routes=OPEN) as client:
            forged = [
                (await client.get("/api/things", headers={"X-Forwarded-For": f"198.51.100.{n}"})).status_code
                for n in range(4)
            ]
        assert forged == [200, 429, 429, 429]

    async def test_a_client_behind_our_proxy_is_counted_by_its_true_address(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        settings = make_settings(trusted_proxies=["192.0.2.1"])
        async with routed(settings, open_router(once()), open_routes=OPEN) as client:
            seen = [
                (await client.get("/api/things", headers={"X-Forwarded-For": hops})).status_code
                for hops in ("198.51.100.1", "6.6.6.6, 198.51.100.1", "198.51.100.2")
            ]
        assert seen == [200, 429, 200]

    async def test_callers_of_a_gate_are_counted_by_principal_wherever_they_are(
        self, settings: Settings
    ) -> None:
        async with routed(settings, gated_router(once())) as client:
            assert await statuses(client, ["/items/1", "/items/2"], headers=as_(READER)) == [200, 429]
            assert await statuses(client, ["/items/1"], headers=as_(WRITER)) == [200]
            app = client._transport.app  # type: ignore[attr-defined]
            async with client_of(app, "192.0.2.9") as elsewhere:
                assert await statuses(elsewhere, ["/items/1"], headers=as_(READER)) == [429]

    async def test_a_principal_found_by_a_dependency_before_it_is_the_caller(
        self, settings: Settings
    ) -> None:
        router, limiter = APIRouter(), once()

        @router.get("/api/mine")
        async def mine(
            caller: CurrentPrincipal, _limit: Annotated[None, Depends(limiter)]
        ) -> str:  # the parameters' order is the order of the dependencies
            return caller.id

        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, ["/api/mine"] * 2, headers=as_(READER)) == [200, 429]
            assert await statuses(client, ["/api/mine"], headers=as_(WRITER)) == [200]

    async def test_an_identifier_says_who_is_counted_together_and_is_stored_hashed(
        self, settings: Settings, store: ValkeyClient
    ) -> None:
        async def by_account(request: Request) -> str:
            return request.headers["x-account"]

        limiter = RateLimiter(Limiter(Rate(1, DAY)), identifier=by_account)
        async with routed(settings, open_router(limiter), open_routes=OPEN) as client:
            seen = [
                (await client.get("/api/things", headers={"X-Account": name})).status_code
                for name in ("account-a", "account-b", "account-a")
            ]
        assert seen == [200, 200, 429]
        assert b"account-a" not in b"".join(await store.execute("KEYS", "*"))


def gated_router(*limiters: RateLimiter, limit: int = 100) -> APIRouter:
    config = JobConfig(rate_limit=RateLimit.fixed_window(limit=limit, window=86_400.0 * 300))
    router = APIRouter()
    gate = enforce_all_policies("items", config)

    @router.get("/items/{item_id}", dependencies=[gate, *(Depends(limiter) for limiter in limiters)])
    @api_worker(config)
    async def read(item_id: int) -> int:
        return item_id

    return router


class TestWhereItCounts:
    async def test_one_object_on_two_routes_counts_on_each(self, settings: Settings) -> None:
        limiter, router = once(), APIRouter()

        async def served() -> str:
            return "served"

        router.get("/api/a", dependencies=[Depends(limiter)])(served)
        router.get("/api/b", dependencies=[Depends(limiter)])(served)
        router.put("/api/b", dependencies=[Depends(limiter)])(served)
        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, ["/api/a", "/api/b", "/api/a", "/api/b"]) == [200, 200, 429, 429]
            assert (await client.put("/api/b")).status_code == 200

    async def test_one_route_under_two_prefixes_counts_under_each(self, settings: Settings) -> None:
        outer = APIRouter()
        inner = open_router(once())
        outer.include_router(inner, prefix="/api/v1")
        outer.include_router(inner, prefix="/api/v2")
        paths = ["/api/v1/api/things", "/api/v2/api/things"]
        async with routed(settings, outer, open_routes=OPEN) as client:
            assert await statuses(client, [*paths, *paths]) == [200, 200, 429, 429]

    async def test_the_values_of_path_parameters_do_not_matter(self, settings: Settings) -> None:
        router = open_router(once(), path="/things/{name}")
        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, ["/api/things/a", "/api/things/b"]) == [200, 429]

    async def test_two_limiters_on_one_route_are_two_buckets(
        self, settings: Settings, store: ValkeyClient
    ) -> None:
        twins = [RateLimiter(Rate(2, DAY)), RateLimiter(Rate(2, DAY))]
        async with routed(settings, open_router(*twins), open_routes=OPEN) as client:
            assert await statuses(client, ["/api/things"] * 3) == [200, 200, 429]
        buckets = [key for key in await store.execute("KEYS", "*") if b":v1:l:" in key]
        assert sorted(buckets) == [
            b"{ip:192.0.2.1}:v1:l:GET /api/things.limiter_1_2_per_86400s",
            b"{ip:192.0.2.1}:v1:l:GET /api/things.limiter_2_2_per_86400s",
        ]
        assert all([await store.execute("PTTL", key) > 0 for key in buckets])

    async def test_limiters_inside_another_dependency_are_two_buckets_as_well(
        self, settings: Settings, store: ValkeyClient
    ) -> None:
        router = APIRouter()
        first, second = RateLimiter(Rate(2, DAY)), RateLimiter(Rate(2, DAY))

        async def both(
            _first: Annotated[None, Depends(first)], _second: Annotated[None, Depends(second)]
        ) -> None:
            """Bundles limits."""

        @router.get("/api/things", dependencies=[Depends(both)])
        async def things() -> str:
            return "served"

        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, ["/api/things"] * 3) == [200, 200, 429]
        assert len([key for key in await store.execute("KEYS", "*") if b"limiter_2_" in key]) == 1

    async def test_on_an_include_it_counts_each_route_below(self, settings: Settings) -> None:
        inner, outer = APIRouter(), APIRouter()

        async def served() -> str:
            return "served"

        inner.get("/a")(served)
        inner.get("/b")(served)
        outer.include_router(inner, prefix="/api", dependencies=[Depends(once())])
        async with routed(settings, outer, open_routes=OPEN) as client:
            assert await statuses(client, ["/api/a", "/api/b", "/api/a", "/api/b"]) == [200, 200, 429, 429]

    async def test_it_serves_a_route_of_fastapis_own_router(self, settings: Settings) -> None:
        router = open_router(once(), router=fastapi.APIRouter())
        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, ["/api/things"] * 2) == [200, 429]

    async def test_a_second_process_counts_in_the_same_bucket(self, settings: Settings) -> None:
        for expected in (200, 429):
            async with routed(settings, open_router(once()), open_routes=OPEN) as client:
                assert await statuses(client, ["/api/things"]) == [expected]

    async def test_skip_limiter_exempts_its_route_alone(self, settings: Settings) -> None:
        router = APIRouter(dependencies=[Depends(once())])

        @router.get("/api/free")
        @skip_limiter
        async def free() -> str:
            return "served"

        @router.get("/api/counted")
        async def counted() -> str:
            return "served"

        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, ["/api/free"] * 3) == [200] * 3
            assert await statuses(client, ["/api/counted"] * 2) == [200, 429]

    async def test_skip_limiter_holds_under_api_worker(self, settings: Settings) -> None:
        config, router = JobConfig(), APIRouter()

        @router.get("/free", dependencies=[enforce_all_policies("free", config), Depends(once())])
        @api_worker(config)
        @skip_limiter
        async def free() -> str:
            return "served"

        async with routed(settings, router) as client:
            assert await statuses(client, ["/free"] * 3, headers=as_(READER)) == [200] * 3


class TestTheCount:
    @pytest.mark.parametrize("rate", [Rate(7, DAY), Rate(1000, DAY, burst=7)])
    async def test_exactly_the_quota_of_many_at_once_passes(self, settings: Settings, rate: Rate) -> None:
        async with routed(settings, open_router(RateLimiter(Limiter(rate))), open_routes=OPEN) as client:
            answers = await asyncio.gather(*(client.get("/api/things") for _ in range(70)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * 63

    async def test_several_rates_are_all_or_nothing_in_one_call(
        self, make_settings: Callable[..., Settings], private_valkey: PrivateServer
    ) -> None:
        settings = make_settings(valkey_url=private_valkey.url)
        limiter = RateLimiter(limiter=Limiter([Rate(2, Duration.HOUR), Rate(9, DAY)]))
        async with (
            routed(settings, open_router(limiter), open_routes=OPEN) as client,
            Valkey.from_url(private_valkey.url) as valkey,
        ):
            await client.get("/api/things")
            await valkey.config_resetstat()
            await client.get("/api/things")
            stats: Any = await valkey.info("commandstats")
            refused = [await client.get("/api/things") for _ in range(3)]
        assert stats["cmdstat_evalsha"]["calls"] == 1
        assert [answer.status_code for answer in refused] == [429] * 3
        assert refused[-1].json()["violated-policies"] == ["limiter_1_2_per_3600s"]
        assert '"limiter_1_9_per_86400s";r=7;' in refused[-1].headers["ratelimit"]

    async def test_the_gates_limit_and_the_limiters_hold_together(self, settings: Settings) -> None:
        async with routed(settings, gated_router(RateLimiter(Rate(5, DAY)), limit=2)) as client:
            answers = [await client.get("/items/1", headers=as_(READER)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].json()["policy"] == "items"
        assert answers[0].headers.get_list("ratelimit-policy") == [
            '"user";q=2;w=25920000',
            '"limiter_1_5_per_86400s";q=5;w=86400',
        ]


class TestAnswers:
    async def test_an_answer_carries_the_fields(self, settings: Settings) -> None:
        limiter = RateLimiter(Limiter([Rate(3, Duration.SECOND * 2.5), Rate(30, DAY, burst=9)]))
        async with routed(settings, open_router(limiter), open_routes=OPEN) as client:
            answer = await client.get("/api/things")
        assert answer.headers["ratelimit-policy"] == (
            '"limiter_1_3_per_2500ms";q=3;w=3, "limiter_1_30_per_86400s_burst_9";q=30;w=86400'
        )
        assert answer.headers["ratelimit"].startswith('"limiter_1_3_per_2500ms";r=2;t=')
        assert '"limiter_1_30_per_86400s_burst_9";r=8;t=2880' in answer.headers["ratelimit"]
        assert "retry-after" not in answer.headers

    async def test_a_refusal_is_a_problem_that_says_when_to_come_back(self, settings: Settings) -> None:
        limiter = RateLimiter(Limiter(Rate(1, Duration.HOUR, burst=2)))
        async with routed(settings, open_router(limiter), open_routes=OPEN) as client:
            await client.get("/api/things")
            await client.get("/api/things")
            answer = await client.get("/api/things")
        assert answer.status_code == 429
        assert answer.headers["content-type"] == "application/problem+json"
        assert 3_590 <= int(answer.headers["retry-after"]) <= 3_961
        assert '"limiter_1_1_per_3600s_burst_2";r=0;' in answer.headers["ratelimit"]
        assert answer.json() == {
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Too Many Requests",
            "status": 429,
            "detail": answer.json()["detail"],
            "instance": "/api/things",
            "request_id": answer.headers["x-request-id"],
            "policy": "GET /api/things",
            "violated-policies": ["limiter_1_1_per_3600s_burst_2"],
        }

    async def test_a_callback_answers_in_its_own_way(self, settings: Settings) -> None:
        async def teapot(request: Request, response: Response) -> None:
            raise HTTPException(418, f"no more {request.url.path}")

        limiter = RateLimiter(Limiter(Rate(1, DAY)), callback=teapot)
        async with routed(settings, open_router(limiter), open_routes=OPEN) as client:
            assert (await client.get("/api/things")).status_code == 200
            answer = await client.get("/api/things")
        assert (answer.status_code, answer.json()["detail"]) == (418, "no more /api/things")

    async def test_a_callback_that_returns_lets_the_request_go_on(self, settings: Settings) -> None:
        async def mark(request: Request, response: Response) -> None:
            response.headers["x-over"] = "yes"

        limiter = RateLimiter(Limiter(Rate(1, DAY)), callback=mark)
        async with routed(settings, open_router(limiter), open_routes=OPEN) as client:
            answers = [await client.get("/api/things") for _ in range(2)]
        assert [answer.headers.get("x-over") for answer in answers] == [None, "yes"]
        assert [answer.status_code for answer in answers] == [200, 200]

    async def test_each_decision_is_one_event(self, settings: Settings) -> None:
        seen: list[Event] = []
        router = open_router(once())
        async with routed(settings, router, open_routes=OPEN) as client:
            platform = client._transport.app.state.gatehouse  # type: ignore[attr-defined]
            platform.hub.subscribe(PolicyEvent, seen.append)
            await statuses(client, ["/api/things"] * 2)
        assert [event[:3] for event in seen] == [
            ("GET /api/things", "admitted", None),
            ("GET /api/things", "limited", "limiter_1_1_per_86400s"),
        ]


async def test_during_an_outage_each_process_enforces_its_part(
    make_settings: Callable[..., Settings], private_valkey: PrivateServer
) -> None:
    settings = make_settings(valkey_url=private_valkey.url, replicas=2)
    async with routed(settings, open_router(RateLimiter(Rate(6, DAY))), open_routes=OPEN) as client:
        before = await client.get("/api/things")
        private_valkey.kill()
        during = [await client.get("/api/things") for _ in range(5)]
    assert before.status_code == 200
    assert [answer.status_code for answer in during] == [200] * 3 + [429] * 2
    assert "ratelimit" not in during[0].headers
    assert int(during[-1].headers["retry-after"]) >= 1


class _PerKey(BucketFactory):
    """A factory whose buckets come with the requests."""

    def wrap_item(self, name: str, weight: int = 1) -> RateItem:
        return RateItem(name, 0, weight)

    def get(self, item: RateItem) -> Any:
        raise LookupError(item)


class TestConstruction:
    def test_it_is_the_packages_class(self) -> None:
        assert isinstance(once(), PackageRateLimiter)

    def test_blocking_is_refused_with_the_reason(self) -> None:
        with pytest.raises(ValueError, match="would hold the connection"):
            RateLimiter(limiter=Limiter(Rate(1, DAY)), blocking=True)

    @pytest.mark.parametrize(
        "argument", [_PerKey(), SingleBucketFactory(StateBucket([Rate(1, DAY)]), schedule_leak=False)]
    )
    def test_a_limiter_that_counts_elsewhere_is_refused(self, argument: BucketFactory) -> None:
        with pytest.raises(ValueError, match="counts in the application's Valkey"):
            RateLimiter(Limiter(argument))

    def test_rates_that_cannot_be_counted_are_refused_at_once(self) -> None:
        with pytest.raises(ValueError, match="beyond exact counting"):
            RateLimiter(Rate(1_000_000, DAY))
        with pytest.raises(ValueError, match="Invalid rate list"):
            RateLimiter([Rate(1, DAY), Rate(1, Duration.HOUR)])

    def test_bare_rates_start_no_thread(self) -> None:
        before = threading.active_count()
        RateLimiter([Rate(1, Duration.HOUR), Rate(2, DAY)])
        assert threading.active_count() == before

    async def test_a_limiters_own_bucket_is_closed_by_the_first_request_and_may_be_given_again(
        self, settings: Settings
    ) -> None:
        given = Limiter(Rate(1, DAY))
        first = RateLimiter(given)
        assert given.buckets()
        async with routed(settings, open_router(first), open_routes=OPEN) as client:
            assert await statuses(client, ["/api/things"]) == [200]
            assert given.buckets() == []
            second = RateLimiter(given)
        async with routed(settings, open_router(second), open_routes=OPEN) as client:
            assert await statuses(client, ["/api/things"]) == [429]
