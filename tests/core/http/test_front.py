"""Gates that are asked before FastAPI's inner layers: what they answer themselves, and what they leave to their routes."""

import asyncio
from typing import Any

import pytest
from fastapi import Request
from sqlalchemy.exc import OperationalError

from app.core.http import GatedRoute
from app.core.http._route_index import unindexed
from app.core.policies import Credits, JobConfig, RateLimit, ResponseCache
from app.settings import Settings
from tests.core.http.gated import NOBODY, READER, as_
from tests.core.http.workshop import LONG, PATIENCE_S, Workshop

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the requests that came as far as their route."""
    seen: list[str] = []
    handle = GatedRoute.handle

    async def spy(self: GatedRoute, scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["method"])
        await handle(self, scope, receive, send)

    monkeypatch.setattr(GatedRoute, "handle", spy)
    return seen


def shop_of(**options: Any) -> Workshop:
    return Workshop(JobConfig(**{"rate_limit": None, **options}))


async def test_hits_and_refusals_do_not_come_to_their_route(settings: Settings, handled: list[str]) -> None:
    limit = RateLimit.fixed_window("two", limit=2, window=LONG)
    async with shop_of(cache=ResponseCache(ttl=60), rate_limit=limit).open(settings) as shop:
        assert await shop.statuses(3) == [200, 200, 429]
        assert (await shop.client.get("/work")).status_code == 401
        assert shop.verdicts == ["admitted", "hit", "limited", "unauthenticated"]
    assert handled == ["GET"]


async def test_a_request_with_a_body_meets_its_gate_in_its_route(
    settings: Settings, handled: list[str]
) -> None:
    async with shop_of().open(settings) as shop:
        assert (await shop.post()).status_code == 200
        assert (await shop.client.post("/work", json={})).status_code == 401
    assert handled == ["POST", "POST"]


async def test_a_gate_is_asked_once(settings: Settings) -> None:
    limit = RateLimit.fixed_window("ten", limit=10, window=LONG)
    async with shop_of(rate_limit=limit).open(settings) as shop:
        answer = await shop.get()
        assert answer.headers["ratelimit"].startswith('"ten";r=9;')
        assert shop.verdicts == ["admitted"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("broken"), 500), (OperationalError("SELECT", {}, ConnectionRefusedError()), 503)],
    ids=["unexpected", "of the database"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_error_in_a_gate_is_answered_as_if_the_route_had_raised_it(
    settings: Settings, method: str, error: Exception, status: int
) -> None:
    def broken(_: Any) -> int:
        raise error

    async with shop_of(credits=Credits(cost=broken)).open(settings) as shop:
        answer = await shop.client.request(method, "/work", headers=as_(READER), json={"name": "tea"})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert shop.runs == 0


async def test_without_an_index_everything_works_in_the_route(
    settings: Settings, handled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop_of(cache=ResponseCache(ttl=60)).open(settings) as shop:
        monkeypatch.setattr(shop.app.router, "routes", unindexed(shop.app.router.routes))
        assert await shop.statuses(2) == [200, 200]
        assert shop.verdicts == ["admitted", "hit"]
        assert (await shop.get(who=NOBODY)).status_code == 200
    assert handled == ["GET"] * 3


async def test_a_refresh_behind_a_hit_is_handled_like_a_request(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.http._cached_answers.is_due", lambda *_: True)
    seen: list[str] = []
    again = asyncio.Event()

    async def page(request: Request, name: str) -> dict[str, str]:
        seen.append(str(request.url_for("page", name=name).path))
        if len(seen) > 1:
            again.set()
        return {"name": name}

    shop = shop_of()
    config = JobConfig(cache=ResponseCache(ttl=60, eager=True), rate_limit=None)
    shop.added("/page/{name}", "page", config, page)
    async with shop.open(settings):
        assert await shop.statuses(2, "/page/a") == [200, 200]
        async with asyncio.timeout(PATIENCE_S):
            await again.wait()
    assert seen == ["/page/a", "/page/a"]
