"""``encryption=True`` at the gate: what is kept of answers is readable nowhere but here, and a lost key loses answers, not requests."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from app.core.db import Database, get_db_context
from app.core.policies import Idempotency, JobConfig, ResponseCache
from app.settings import Settings
from tests.core.http.workshop import Workshop

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
OLD, NEW = "an old key of sealed tests, 32 bytes or more", "a new key of sealed tests, 32 bytes or more"
SECRET = "the patient has measles"
CACHED = JobConfig(rate_limit=None, cache=ResponseCache(ttl=60), encryption=True)
Make = Callable[..., Settings]


def kept(durability: Any = "valkey", **options: Any) -> JobConfig:
    idempotency = Idempotency(durability=durability, **options)
    return JobConfig(rate_limit=None, idempotency=idempotency, encryption=True)


def ward(config: JobConfig) -> Workshop:
    """An endpoint that answers with a secret and how often it ran."""
    shop = Workshop(config)
    shop.outcome = lambda: {"secret": SECRET, "run": shop.runs}
    return shop


READS = {b"string": ("GET",), b"hash": ("HGETALL",), b"zset": ("ZRANGE", "0", "-1")}


async def everything(shop: Workshop) -> bytes:
    """All keys of the store with all that they hold."""
    found: list[Any] = []
    for key in await shop.keys("*"):
        command, *rest = READS[await shop.stored("TYPE", key)]
        found += [key, await shop.stored(command, key, *rest)]
    return repr(found).encode()


class TestCache:
    async def test_nothing_of_an_answer_is_readable_in_the_store(self, settings: Settings) -> None:
        async with ward(CACHED).open(settings) as shop:
            answers = [await shop.get() for _ in range(2)]
            (entry,) = await shop.keys("*:v1:e:*")
            assert await shop.stored("STRLEN", entry) > len(SECRET)
            assert SECRET.encode() not in await everything(shop)
            assert b"secret" not in await everything(shop)
        assert [answer.json() for answer in answers] == [{"secret": SECRET, "run": 1}] * 2

    async def test_without_encryption_it_would_be(self, settings: Settings) -> None:
        async with ward(JobConfig(rate_limit=None, cache=ResponseCache(ttl=60))).open(settings) as shop:
            await shop.get()
            assert SECRET.encode() in await everything(shop)

    async def test_an_entry_does_not_open_in_anothers_place(self, settings: Settings) -> None:
        async with ward(CACHED).open(settings) as shop:
            first, second = [(await shop.get(f"/work?n={n}")).json()["run"] for n in (1, 2)]
            one, two = await shop.keys("*:v1:e:*")
            await shop.stored("COPY", one, two, "REPLACE")
            runs = {(await shop.get(f"/work?n={n}")).json()["run"] for n in (1, 2)}
        assert (first, second) == (1, 2)
        assert 3 in runs  # the moved one was computed anew

    @pytest.mark.parametrize(("keys", "runs"), [([NEW, OLD], 1), ([NEW], 2)])
    async def test_a_key_that_is_still_there_opens_it_and_otherwise_it_is_computed_anew(
        self, make_settings: Make, keys: list[str], runs: int
    ) -> None:
        async with ward(CACHED).open(make_settings(encryption_keys=[OLD])) as shop:
            await shop.get()
        shop = ward(CACHED)
        async with shop.open(make_settings(encryption_keys=keys)):
            assert (await shop.get()).json()["secret"] == SECRET
        assert shop.runs == runs - 1


class TestResult:
    @pytest.mark.parametrize("durability", ["valkey", "db"])
    async def test_nothing_of_it_is_readable_in_the_store_or_the_database(
        self, settings: Settings, database: Database, durability: str
    ) -> None:
        async with ward(kept(durability)).open(settings) as shop:
            first, again = [await shop.post(idempotency_key="k") for _ in range(2)]
            assert first.content == again.content
            assert SECRET.encode() not in await everything(shop)
        async with get_db_context(database) as session:
            rows = (await session.scalars(text("SELECT result FROM idempotency_results"))).all()
        assert len(rows) == (durability == "db")
        assert not any(SECRET.encode() in row for row in rows)

    @pytest.mark.parametrize("flushed", [False, True])
    @pytest.mark.parametrize("durability", ["valkey", "db"])
    async def test_when_its_key_is_gone_the_request_is_not_done_again(
        self, make_settings: Make, durability: str, *, flushed: bool
    ) -> None:
        async with ward(kept(durability)).open(make_settings(encryption_keys=[OLD])) as shop:
            await shop.post(idempotency_key="k")
            if flushed and durability == "db":
                await shop.stored("FLUSHDB")
        shop = ward(kept(durability))
        async with shop.open(make_settings(encryption_keys=[NEW])):
            answer = await shop.post(idempotency_key="k")
        assert (answer.status_code, shop.runs) == (409, 0)
        assert answer.json()["reason"] == "result_not_retained"

    async def test_an_older_key_still_opens_it(self, make_settings: Make) -> None:
        async with ward(kept()).open(make_settings(encryption_keys=[OLD])) as shop:
            first = await shop.post(idempotency_key="k")
        async with ward(kept()).open(make_settings(encryption_keys=[NEW, OLD])) as shop:
            assert (await shop.post(idempotency_key="k")).content == first.content


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_body_too_long_to_keep_is_409_from_the_database_too(
    settings: Settings, *, flushed: bool
) -> None:
    shop = ward(kept("db", max_body=5))

    async def again() -> httpx2.Response:
        if flushed:
            await shop.stored("FLUSHDB")
        return await shop.post(idempotency_key="k")

    async with shop.open(settings):
        assert (await shop.post(idempotency_key="k")).status_code == 200
        answer = await again()
    assert (answer.status_code, shop.runs) == (409, 1)
    assert answer.json()["reason"] == "result_not_retained"
