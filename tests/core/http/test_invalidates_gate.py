"""``JobConfig.invalidates`` at the gate: which cached answers end, when, and what does not end any."""

import asyncio
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.responses import JSONResponse

from app.core.errors import ConfigurationError
from app.core.http import invalidate_tags
from app.core.policies import Credits, Idempotency, JobConfig, ResponseCache
from app.core.valkey import StoreDown
from app.settings import Settings
from tests.core.http.gated import READER, WRITER
from tests.core.http.workshop import PATIENCE_S, Workshop

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


def library(*tags: str, shows: tuple[str, ...] = ("books",), **options: Any) -> Workshop:
    """``GET /work`` shows what depends on ``shows``; ``/change`` ends what has one of ``tags``."""
    shop = Workshop(JobConfig(rate_limit=None, cache=ResponseCache(ttl=60, tags=shows)))
    shop.add("/change", "change", JobConfig(rate_limit=None, invalidates=tags, **options))
    return shop


async def shown(shop: Workshop, who: Any = READER) -> int:
    """The run that the cached answer is from."""
    return int((await shop.get(who=who)).json()["run"])


class TestWhich:
    async def test_every_answer_with_any_of_the_tags(self, settings: Settings) -> None:
        async with library("paintings", "books", shows=("books", "songs")).open(settings) as shop:
            assert await shown(shop) == await shown(shop) == 1
            await shop.post("/change")
            assert await shown(shop) == 3

    async def test_no_other(self, settings: Settings) -> None:
        async with library("paintings").open(settings) as shop:
            await shown(shop)
            await shop.post("/change")
            assert await shown(shop) == 1

    async def test_of_the_caller_who_changed_it_where_the_tag_names_him(self, settings: Settings) -> None:
        async with library("books:{user}", shows=("books:{user}",)).open(settings) as shop:
            assert [await shown(shop), await shown(shop, WRITER)] == [1, 2]
            await shop.post("/change")
            assert [await shown(shop), await shown(shop, WRITER)] == [4, 2]

    async def test_of_the_thing_that_the_path_names(self, settings: Settings) -> None:
        config = JobConfig(rate_limit=None, cache=ResponseCache(ttl=60, tags=("book:{book}",)))
        change = JobConfig(rate_limit=None, invalidates=("book:{book}",))
        shop = Workshop(JobConfig())
        shop.add("/books/{book}", "book", config)
        shop.add("/change/{book}", "change", change)
        async with shop.open(settings):
            before = [(await shop.get(f"/books/{book}")).json()["run"] for book in "ab"]
            await shop.post("/change/a")
            after = [(await shop.get(f"/books/{book}")).json()["run"] for book in "ab"]
        assert (before, after) == ([1, 2], [4, 2])

    async def test_what_the_handler_names_besides(self, settings: Settings) -> None:
        shop = library("paintings")
        async with shop.open(settings):
            await shown(shop)
            shop.outcome = lambda: invalidate_tags("books")
            await shop.post("/change")
            shop.outcome = None
            assert await shown(shop) == 3


class TestNothingEnds:
    @pytest.mark.parametrize("outcome", [HTTPException(409), JSONResponse({}, 422), ZeroDivisionError()])
    async def test_by_a_change_that_failed(self, settings: Settings, outcome: Any) -> None:
        shop = library("books")
        async with shop.open(settings):
            await shown(shop)
            shop.outcome = outcome
            assert (await shop.post("/change")).status_code >= 400
            shop.outcome = None
            assert await shown(shop) == 1

    async def test_by_a_change_that_was_refused(self, settings: Settings) -> None:
        async with library("books", credits=Credits(cost=1)).open(settings) as shop:
            await shown(shop)
            assert (await shop.post("/change")).status_code == 402
            assert await shown(shop) == 1

    async def test_by_a_replay(self, settings: Settings) -> None:
        async with library("books", idempotency=Idempotency()).open(settings) as shop:
            await shop.post("/change", idempotency_key="k")
            assert await shown(shop) == 2
            assert (await shop.post("/change", idempotency_key="k")).headers["idempotent-replayed"] == "true"
            assert await shown(shop) == 2

    async def test_before_the_change_is_done(self, settings: Settings) -> None:
        shop = library("books")
        async with shop.open(settings):
            assert await shown(shop) == 1
            async with shop.in_hand("/change"):
                assert await shown(shop) == 1
            assert await shown(shop) == 3


async def test_who_was_told_of_the_change_is_shown_nothing_older(settings: Settings) -> None:
    async with library("books").open(settings) as shop:
        for _ in range(20):
            await shown(shop)
            changed = (await shop.post("/change")).json()["run"]
            assert await shown(shop) > changed


async def test_what_an_outage_kept_from_being_ended_is_ended_when_the_store_is_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with library("books").open(settings) as shop:
        await shown(shop)
        cache, done = shop.platform.cache, asyncio.Event()
        invalidate, failures = cache.invalidate_tags, iter([StoreDown("gone")])

        async def unreliable(*tags: str) -> None:
            if (failure := next(failures, None)) is not None:
                raise failure
            await invalidate(*tags)
            done.set()

        monkeypatch.setattr(cache, "invalidate_tags", unreliable)
        assert (await shop.post("/change")).status_code == 200
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()
        assert await shown(shop) == 3


async def test_outside_a_request_a_handlers_way_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        invalidate_tags("books")
