"""Cached answers through the whole gate, on real servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from fastapi import HTTPException, Response

from app.core.http import APIRouter, api_worker, enforce_all_policies, invalidate_tags
from app.core.policies import JobConfig, RateLimit, ResponseCache, Security
from app.settings import Settings
from tests.core.http.gated import NOBODY, READER, WRITER, NamedTokens, as_, routed

pytestmark = pytest.mark.usefixtures("clean_store")


class Page:
    """A router whose handler counts how often it ran, and does what a test says."""

    def __init__(self, cache: ResponseCache, **config: Any) -> None:
        self.runs = 0
        self.outcome: Any = None
        self.headers: dict[str, str] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.router = APIRouter()
        self.config = JobConfig(cache=cache, **{"rate_limit": None, **config})
        self.change = JobConfig(invalidates=("page",))
        dependencies = [enforce_all_policies("page", self.config)]

        @self.router.get("/page/{name}", dependencies=dependencies)
        @api_worker(self.config)
        async def page(name: str, response: Response) -> Any:
            self.runs += 1
            run = self.runs
            await self.gate.wait()
            if isinstance(self.outcome, Exception):
                raise self.outcome
            response.headers.update(self.headers)
            return {"name": name, "run": run}

        @self.router.post("/page", dependencies=[enforce_all_policies("change", self.change)])
        @api_worker(self.change)
        async def change(fail: bool = False, tag: str | None = None) -> None:
            if tag is not None:
                invalidate_tags(tag)
            if fail:
                raise HTTPException(409, "no")

    async def until(self, runs: int) -> None:
        """Wait for that many runs to have begun."""
        for _ in range(10_000):
            if self.runs >= runs:
                return
            await asyncio.sleep(0.001)
        raise TimeoutError

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
        async with routed(settings, self.router) as client:
            yield client


async def run_of(client: httpx2.AsyncClient, path: str = "/page/a", **options: Any) -> int:
    options.setdefault("headers", as_(READER))
    answer = await client.get(path, **options)
    assert answer.status_code == 200
    return int(answer.json()["run"])


class TestHit:
    async def test_the_second_caller_gets_the_stored_answer(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60))
        async with page.open(settings) as client:
            first = await client.get("/page/a", headers=as_(READER))
            second = await client.get("/page/a", headers=as_(READER))
        assert first.content == second.content
        assert page.runs == 1
        assert "fwd=miss" in first.headers["cache-status"]
        assert "hit" in second.headers["cache-status"]
        assert int(second.headers["age"]) >= 0
        assert second.headers["cache-control"].startswith("private, max-age=")
        assert first.headers["etag"] == second.headers["etag"]
        assert "Authorization" in second.headers["vary"]

    async def test_if_none_match_is_304_on_hit_and_on_miss(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60))
        page.outcome = None
        async with page.open(settings) as client:
            first = await client.get("/page/a", headers=as_(READER))
            etag = first.headers["etag"]
            again = await client.get("/page/a", headers={**as_(READER), "If-None-Match": f'"x", W/{etag}'})
            other = await client.get("/page/a", headers={**as_(READER), "If-None-Match": '"x"'})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == etag
        assert "cache-control" in again.headers
        assert other.status_code == 200

    async def test_paths_and_queries_are_different_answers_and_query_order_is_not(
        self, settings: Settings
    ) -> None:
        page = Page(ResponseCache(ttl=60))
        async with page.open(settings) as client:
            runs = [
                await run_of(client, path)
                for path in (
                    "/page/a",
                    "/page/b",
                    "/page/a?x=1&y=2",
                    "/page/a?y=2&x=1",
                    "/page/a?x=1",
                    "/page/a",
                )
            ]
        assert runs == [1, 2, 3, 3, 4, 1]

    async def test_only_listed_parameters_select(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, query=("x",)))
        async with page.open(settings) as client:
            assert await run_of(client, "/page/a?x=1&utm=2") == await run_of(client, "/page/a?x=1&utm=3")

    async def test_a_varying_header_selects(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, vary=("Accept-Language",)))
        async with page.open(settings) as client:
            de = await run_of(client, headers={**as_(READER), "Accept-Language": "de"})
            en = await run_of(client, headers={**as_(READER), "Accept-Language": "en"})
        assert (de, en) == (1, 2)

    async def test_a_hit_is_charged_unless_it_is_free(self, settings: Settings) -> None:
        for cost, left in ((1, 8), (0, 9)):
            limit = RateLimit.fixed_window(f"user{cost}", limit=10, window=86_400 * 300)
            page = Page(ResponseCache(ttl=60, hit_cost=cost), rate_limit=limit)  # type: ignore[arg-type]
            async with page.open(settings) as client:
                await client.get(f"/page/{cost}", headers=as_(READER))
                hit = await client.get(f"/page/{cost}", headers=as_(READER))
            assert f"r={left}" in hit.headers["ratelimit"]

    async def test_a_used_up_limit_refuses_a_hit_too(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60), rate_limit=RateLimit.fixed_window(limit=2, window=86_400 * 300))
        async with page.open(settings) as client:
            statuses = [(await client.get("/page/a", headers=as_(READER))).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]


ANEW = {"Cache-Control": "max-age=0, No-Cache"}


class TestAnew:
    """``Cache-Control: no-cache`` of a request."""

    async def test_who_may_gets_a_new_answer_and_so_do_all_after_him(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, stale=600, soft_timeout=0.001, refresh_roles=("db_reader",)))
        async with page.open(settings) as client:
            assert await run_of(client) == 1
            assert await run_of(client, headers={**as_(READER), **ANEW}) == 2
            assert await run_of(client, headers={**as_(READER), "Cache-Control": "no-store"}) == 2
            assert await run_of(client) == 2

    async def test_he_is_not_given_the_stale_one_when_computing_fails(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, stale=600, refresh_roles=("db_reader",)))
        async with page.open(settings) as client:
            await run_of(client)
            page.outcome = HTTPException(500, "broken")
            answer = await client.get("/page/a", headers={**as_(READER), **ANEW})
            assert answer.status_code == 500
            assert await run_of(client) == 1

    @pytest.mark.parametrize("roles", [(), ("admin",)])
    async def test_from_anybody_else_it_is_ignored(self, settings: Settings, roles: tuple[str, ...]) -> None:
        page = Page(ResponseCache(ttl=60, refresh_roles=roles))
        async with page.open(settings) as client:
            assert [await run_of(client, headers={**as_(READER), **ANEW}) for _ in range(2)] == [1, 1]


class TestScope:
    async def test_nobody_sees_anothers_answer(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60))
        async with page.open(settings) as client:
            mine = await run_of(client)
            others = await run_of(client, headers=as_(WRITER))
            anonymous = await client.get("/page/a")
        assert (mine, others) == (1, 2)
        assert anonymous.status_code == 401

    async def test_who_lost_a_scope_is_refused_and_who_lost_a_role_gets_another_answer(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = Page(ResponseCache(ttl=60), security=Security(scopes=("read:records",)))
        known = {"reader": READER}
        monkeypatch.setattr(NamedTokens, "verify", lambda _, token: known[token])
        async with page.open(settings) as client:
            assert await run_of(client) == 1
            known["reader"] = replace(READER, roles=frozenset())
            assert await run_of(client) == 2
            known["reader"] = replace(READER, scopes=frozenset())
            assert (await client.get("/page/a", headers=as_(READER))).status_code == 403

    async def test_public_is_for_all_and_must_be_said_twice(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, scope="public", shared_with_all=True))
        async with page.open(settings) as client:
            assert await run_of(client) == await run_of(client, headers=as_(WRITER)) == 1
            answer = await client.get("/page/a", headers=as_(NOBODY))
        assert answer.headers["cache-control"].startswith("public")
        with pytest.raises(ValueError, match="shared_with_all"):
            JobConfig(cache=ResponseCache(ttl=60, scope="public"))

    async def test_a_tenant_shares_within_and_not_beyond(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = Page(ResponseCache(ttl=60, scope="tenant"))
        known = {
            "a": replace(READER, id="a", tenant_id="t1"),
            "b": replace(READER, id="b", tenant_id="t1"),
            "c": replace(READER, id="c", tenant_id="t2"),
            "d": replace(READER, id="d"),
        }
        monkeypatch.setattr(NamedTokens, "verify", lambda _, token: known[token])
        async with page.open(settings) as client:
            runs = [await run_of(client, headers=as_(known[name])) for name in "abcd"]
        assert runs == [1, 1, 2, 3]


class TestWhatIsNotKept:
    @pytest.mark.parametrize("headers", [{"Set-Cookie": "a=b"}, {"Cache-Control": "no-store"}])
    async def test_headers_that_forbid_it(self, settings: Settings, headers: dict[str, str]) -> None:
        page = Page(ResponseCache(ttl=60))
        page.headers = headers
        async with page.open(settings) as client:
            assert [await run_of(client), await run_of(client)] == [1, 2]

    async def test_a_404_only_with_a_negative_ttl(self, settings: Settings) -> None:
        for negative, runs in ((0, 2), (60, 1)):
            page = Page(ResponseCache(ttl=60, negative_ttl=negative))
            page.outcome = HTTPException(404, "no")
            async with page.open(settings) as client:
                for _ in range(2):
                    answer = await client.get(f"/page/{negative}", headers=as_(READER))
                    assert answer.status_code == 404
            assert page.runs == runs

    async def test_too_long_a_body(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, max_body=5))
        async with page.open(settings) as client:
            assert [await run_of(client), await run_of(client)] == [1, 2]


class TestInvalidation:
    async def test_a_committed_change_ends_every_answer_with_its_tag(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, tags=("page",)))
        async with page.open(settings) as client:
            assert [await run_of(client), await run_of(client, headers=as_(WRITER))] == [1, 2]
            assert (await client.post("/page", headers=as_(READER))).status_code == 200
            assert [await run_of(client), await run_of(client, headers=as_(WRITER))] == [3, 4]

    async def test_a_failed_change_ends_nothing(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, tags=("page",)))
        async with page.open(settings) as client:
            await run_of(client)
            assert (await client.post("/page?fail=true", headers=as_(READER))).status_code == 409
            assert await run_of(client) == 1

    async def test_tags_with_names_in_them(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, tags=("page:{name}:{user}",)))
        async with page.open(settings) as client:
            await run_of(client, "/page/a")
            await run_of(client, "/page/b")
            await client.post("/page?tag=page:a:reader", headers=as_(READER))
            assert [await run_of(client, "/page/a"), await run_of(client, "/page/b")] == [3, 2]

    async def test_a_change_during_the_computation_is_not_overwritten(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, tags=("page",)))
        page.gate.clear()
        async with page.open(settings) as client:
            first = asyncio.create_task(client.get("/page/a", headers=as_(READER)))
            await page.until(1)
            await client.post("/page", headers=as_(READER))
            page.gate.set()
            await first
            assert await run_of(client) == 2


class TestSingleFlight:
    async def test_a_hundred_cold_callers_compute_once(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60))
        page.gate.clear()
        async with page.open(settings) as client:
            calls = [asyncio.create_task(client.get("/page/a", headers=as_(READER))) for _ in range(100)]
            await page.until(1)
            page.gate.set()
            answers = await asyncio.gather(*calls)
        assert page.runs == 1
        assert len({answer.content for answer in answers}) == 1

    async def test_followers_of_a_failed_leader_compute_themselves(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60))
        page.gate.clear()
        page.outcome = HTTPException(503, "no")
        async with page.open(settings) as client:
            calls = [asyncio.create_task(client.get("/page/a", headers=as_(READER))) for _ in range(3)]
            await page.until(1)
            page.gate.set()
            answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} == {503}

    async def test_a_follower_does_not_wait_beyond_the_hard_timeout(self, settings: Settings) -> None:
        page = Page(ResponseCache(ttl=60, hard_timeout=0.05))
        page.gate.clear()
        async with page.open(settings) as client:
            first = asyncio.create_task(client.get("/page/a", headers=as_(READER)))
            await page.until(1)
            second = asyncio.create_task(client.get("/page/a", headers=as_(READER)))
            await page.until(2)
            page.gate.set()
            assert {(await first).json()["run"], (await second).json()["run"]} == {1, 2}


class TestStale:
    async def age(self, store: Any) -> None:
        """Make every entry stale, as time would."""
        for key in await store.execute("KEYS", "*:v1:e:*"):
            value = await store.execute("GET", key)
            head, _, body = value.partition(b"\n")
            created, _, stale, delta, versions = head.split(b" ")
            aged = b" ".join((created, created, stale, delta, versions)) + b"\n" + body
            await store.execute("SET", key, aged, "KEEPTTL")

    async def test_a_slow_computation_is_answered_with_the_stale_one_and_goes_on(
        self, settings: Settings, store: Any
    ) -> None:
        page = Page(ResponseCache(ttl=60, stale=600, soft_timeout=0.02))
        async with page.open(settings) as client:
            await run_of(client)
            await self.age(store)
            page.gate.clear()
            stale = await client.get("/page/a", headers=as_(READER))
            assert stale.json()["run"] == 1
            assert "stale" in stale.headers["cache-status"]
            page.gate.set()
            run = 1
            while run == 1:
                await asyncio.sleep(0.005)
                run = await run_of(client)
        assert run == page.runs == 2

    async def test_a_quick_computation_is_waited_for(self, settings: Settings, store: Any) -> None:
        page = Page(ResponseCache(ttl=60, stale=600, soft_timeout=5))
        async with page.open(settings) as client:
            await run_of(client)
            await self.age(store)
            assert await run_of(client) == 2

    async def test_a_failing_computation_is_answered_with_the_stale_one_and_throttled(
        self, settings: Settings, store: Any
    ) -> None:
        page = Page(ResponseCache(ttl=60, stale=600, soft_timeout=5))
        async with page.open(settings) as client:
            await run_of(client)
            await self.age(store)
            page.outcome = HTTPException(500, "broken")
            assert [await run_of(client), await run_of(client)] == [1, 1]
        assert page.runs == 2

    async def test_an_eager_answer_is_refreshed_behind_the_caller(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.core.http._cached_answers.is_due", lambda *_: True)
        page = Page(ResponseCache(ttl=60, eager=True))
        async with page.open(settings) as client:
            await run_of(client)
            assert await run_of(client) == 1
            await page.until(2)
            run = 1
            while run == 1:
                run = await run_of(client)
        assert run >= 2


class TestOutage:
    async def test_without_the_store_everything_is_computed(self, make_settings: Any) -> None:
        page = Page(ResponseCache(ttl=60, tags=("page",)))
        async with page.open(make_settings(valkey_url="valkey://127.0.0.1:1/0")) as client:
            assert [await run_of(client), await run_of(client)] == [1, 2]
            assert (await client.post("/page", headers=as_(READER))).status_code == 200
