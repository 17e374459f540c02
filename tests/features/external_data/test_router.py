"""GET /external-data, whole: gate, retry, breaker, deadline, against a server that fails, stalls and recovers."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from app.core import APIRouter, api_worker, enforce_all_policies
from app.core.policies import Breaker, ResponseCache
from app.features.external_data.router import SEARCH, fetch_external_data, router
from app.features.external_data.service import provide_external_data
from app.registry import Feature
from app.settings import Settings
from tests.gated import Service, bearer, serving
from tests.upstream import FOUND, Upstream, reply

FEATURE = Feature(name="external_data", router=router, provides=provide_external_data)
pytestmark = pytest.mark.usefixtures("clean_store")


def rights(**changes: Any) -> dict[str, str]:
    return bearer(uuid4(), **{"scopes": ["read:external"], "roles": ["io_user"], **changes})


@pytest.fixture
async def service(make_settings: Callable[..., Settings], upstream: Upstream) -> AsyncIterator[Service]:
    settings = make_settings(external_data={"url": upstream.url, "allow_private": True})
    async with serving(settings, FEATURE) as service:
        yield service


async def ask(service: Service, query: str = "x", headers: dict[str, str] | None = None) -> Any:
    return await service.client.get("/external-data", params={"query": query}, headers=headers or rights())


async def test_what_is_found_is_answered(service: Service, upstream: Upstream) -> None:
    answer = await ask(service, "  moon ")
    assert (answer.status_code, answer.json()) == (200, {"query": "moon", **FOUND})
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("changes", [{"scopes": ["read:records"]}, {"roles": ["db_reader"]}])
async def test_scope_and_role_are_needed(
    service: Service, upstream: Upstream, changes: dict[str, Any]
) -> None:
    assert (await ask(service, headers=rights(**changes))).status_code == 403
    assert (await service.client.get("/external-data?query=x")).status_code == 401
    assert upstream.requests == []


async def test_five_at_once_then_one_a_second(service: Service) -> None:
    headers = rights()
    statuses = [(await ask(service, f"q{number}", headers)).status_code for number in range(6)]
    assert statuses == [200] * 5 + [429]


async def test_it_is_tried_three_times(service: Service, upstream: Upstream) -> None:
    upstream.answers(reply(status=500), b"")
    assert (await ask(service)).status_code == 200
    assert len(upstream.requests) == 3
    upstream.always(reply(status=500))
    assert (await ask(service, "y")).status_code == 502
    assert len(upstream.requests) == 6


async def test_what_it_does_not_take_is_asked_once(service: Service, upstream: Upstream) -> None:
    upstream.always(reply({"error": "secret words of theirs"}, status=400))
    answer = await ask(service)
    assert (answer.status_code, len(upstream.requests)) == (502, 1)
    assert "secret words" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_busy_is_503_with_the_time_to_wait(service: Service, upstream: Upstream) -> None:
    upstream.always(reply(status=503, retry_after="120"))
    answer = await ask(service)
    assert (answer.status_code, answer.headers["retry-after"], len(upstream.requests)) == (503, "120", 1)


async def test_one_that_keeps_failing_is_left_alone_and_works_when_it_recovers(
    service: Service, upstream: Upstream
) -> None:
    upstream.always(reply(status=500))
    statuses = [(await ask(service, f"q{number}")).status_code for number in range(7)]
    assert statuses == [502] * 6 + [503]  # the 20th call, the 2nd of the 7th request, opens it
    asked = len(upstream.requests)
    assert asked == 20
    refused = await ask(service, "another")
    assert (refused.status_code, refused.json()["reason"]) == (503, "circuit_open")
    assert 4 <= int(refused.headers["retry-after"]) <= 6
    assert len(upstream.requests) == asked
    upstream.recover()
    breaker = service.platform.breakers.find("external_data")
    assert breaker is not None
    breaker.close()
    assert (await ask(service, "another")).status_code == 200


@asynccontextmanager
async def serving_hurried(settings: Settings, **changes: Any) -> AsyncIterator[Service]:
    """The endpoint with short times."""
    assert SEARCH.retry is not None
    quick = replace(SEARCH.retry, attempt_timeout=0.15, base=0, cap=0)
    hurried = replace(SEARCH, **{"retry": quick, **changes})
    router = APIRouter(prefix="/external-data")
    router.get("", dependencies=[enforce_all_policies("external_data", hurried)])(
        api_worker(hurried)(inspect.unwrap(fetch_external_data))
    )
    async with serving(settings, replace(FEATURE, router=router)) as service:
        yield service


async def test_one_that_stalls_is_504_in_time(
    make_settings: Callable[..., Settings], upstream: Upstream
) -> None:
    settings = make_settings(external_data={"url": upstream.url, "allow_private": True})
    async with serving_hurried(settings) as service:
        upstream.always(None)
        answer = await ask(service)
        assert (answer.status_code, len(upstream.requests)) == (504, 3)
        upstream.recover()
        assert (await ask(service)).status_code == 200


async def test_a_fresh_answer_is_given_without_asking(service: Service, upstream: Upstream) -> None:
    headers = rights()
    answers = [await ask(service, "x", headers) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert len(upstream.requests) == 1
    await ask(service, "x", rights())  # somebody else's answer is his own
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("trouble", [reply(status=500), None], ids=["fails", "stalls"])
async def test_the_last_answer_serves_while_it_is_unwell_and_when_the_circuit_is_open(
    make_settings: Callable[..., Settings], upstream: Upstream, trouble: bytes | None
) -> None:
    settings = make_settings(external_data={"url": upstream.url, "allow_private": True})
    kept, breaker = ResponseCache(ttl=0.1, stale=600), Breaker(dependency="external_data", min_calls=3)
    async with serving_hurried(settings, cache=kept, circuit_breaker=breaker, rate_limit=None) as service:
        headers = rights()
        first = await ask(service, "x", headers)
        upstream.always(trouble)
        async with asyncio.timeout(20):
            while True:  # fresh, then stale
                answer = await ask(service, "x", headers)
                assert (answer.status_code, answer.content) == (200, first.content)
                if service.platform.breakers.states()[0].state == "open":
                    break
        answer = await ask(service, "x", headers)
        assert (answer.status_code, answer.content) == (200, first.content)
        assert (await ask(service, "never asked", headers)).status_code == 503


@pytest.mark.parametrize("query", ["", "query=", "query=%20", "query=" + "x" * 201, "query=x&surprise=1"])
async def test_bad_input_is_422_and_nothing_is_asked(
    service: Service, upstream: Upstream, query: str
) -> None:
    answer = await service.client.get(f"/external-data?{query}", headers=rights())
    assert answer.status_code == 422
    assert upstream.requests == []


async def test_it_is_503_until_it_is_configured(settings: Settings) -> None:
    async with serving(settings, FEATURE) as service:
        answer = await ask(service)
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "The source of external data is not configured.",
    )
