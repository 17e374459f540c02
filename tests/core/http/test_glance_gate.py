"""Answers that were seen fresh are looked for alone, and what a miss needs is asked only then: on real servers."""

from typing import Any

import pytest

from app.core.db import Database
from app.core.policies import Concurrency, JobConfig, RateLimit, ResponseCache
from app.core.valkey import Script, ValkeyClient
from app.settings import Settings
from tests.core.http.workshop import LONG, Workshop, fund, priced
from tests.servers import PrivateServer

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
MANY = RateLimit.fixed_window("many", limit=100, window=LONG)


def cached(**options: Any) -> Workshop:
    return priced(
        cache=ResponseCache(ttl=60, tags=("work",)),
        concurrency=Concurrency(max=2),
        rate_limit=MANY,
        **options,
    )


class Counted:
    """How many keys each call of ADMIT brought."""

    def __init__(self, store: ValkeyClient) -> None:
        self.keys: list[int] = []
        self._submit = store.submit_packed
        store.submit_packed = self._take  # type: ignore[method-assign]

    def _take(self, script: Script, packed: bytes, **options: Any) -> Any:
        """Every script call comes here, put together anew or not: its parts, EVALSHA, the script, the number of keys, and so on."""
        if script.name == "lua/admit":
            self.keys.append(int(packed.split(b"\r\n", 7)[6]))
        return self._submit(script, packed, **options)


async def test_the_second_hit_asks_for_limit_and_answer_alone(settings: Settings, database: Database) -> None:
    await fund(database, 10)
    async with cached().open(settings) as shop:
        await shop.statuses(2)
        counted = Counted(shop.platform.store)
        answer = await shop.get()
        assert answer.headers["cache-status"].startswith("gatehouse; hit")
        assert counted.keys == [5]  # receipt, limit, entry, lease, tag; neither slot nor account
        assert (shop.runs, await shop.left()) == (1, (8, 0))


async def test_an_answer_that_is_gone_is_computed_and_charged_as_if_nobody_had_looked(
    settings: Settings, database: Database
) -> None:
    await fund(database, 10)
    async with cached().open(settings) as shop:
        await shop.statuses(2)
        (entry,) = await shop.keys("*:e:work:*")
        await shop.stored("DEL", entry)
        counted = Counted(shop.platform.store)
        answer = await shop.get()
        assert (answer.status_code, shop.runs, len(counted.keys)) == (200, 2, 2)
        assert answer.headers["ratelimit"].startswith('"many";r=97;')
        assert await shop.left() == (6, 0)
        await shop.get()
        assert len(counted.keys) == 3, "one call again, and it is no glance after it was in vain"
        assert counted.keys[2] > 5


async def test_an_answer_that_was_changed_is_not_given(settings: Settings, database: Database) -> None:
    async def change() -> None:
        """Commits nothing, but says so."""

    await fund(database, 10)
    shop = cached()
    shop.added("/change", "change", JobConfig(invalidates=("work",), rate_limit=None), change)
    async with shop.open(settings):
        await shop.statuses(2)
        assert await shop.statuses(1, "/change") == [200]
        assert (await shop.get()).json() == {"run": 2}


async def test_a_stale_answer_that_says_it_is_fresh_is_not_looked_for_alone(
    settings: Settings, database: Database
) -> None:
    """As after the server's clock was put back."""
    await fund(database, 10)
    cache = ResponseCache(ttl=60, stale=600, soft_timeout=0.01)
    async with priced(cache=cache).open(settings) as shop:
        assert await shop.statuses(1) == [200]
        (key,) = await shop.keys("*:e:work:*")
        _, rest = (await shop.stored("GET", key)).decode().split(" ", 1)
        await shop.stored("SET", key, f"9000000000000 {rest}", "KEEPTTL")
        shop.free.clear()
        await shop.get()  # computes it anew, for nothing
        counted = Counted(shop.platform.store)
        answers = [await shop.get() for _ in range(2)]
        assert ["stale" in answer.headers["cache-status"] for answer in answers] == [True, True]
        assert len(counted.keys) == 2
        shop.free.set()


async def test_a_used_up_limit_refuses_a_hit_and_says_so(settings: Settings, database: Database) -> None:
    await fund(database, 10)
    two = RateLimit.fixed_window("two", limit=3, window=LONG)
    async with priced(cache=ResponseCache(ttl=60), rate_limit=two).open(settings) as shop:
        assert await shop.statuses(4) == [200, 200, 200, 429]
        assert shop.verdicts == ["admitted", "hit", "hit", "limited"]


async def test_when_the_store_goes_away_credits_are_503_and_nothing_is_computed_for_nothing(
    make_settings: Any, database: Database, private_valkey: PrivateServer
) -> None:
    await fund(database, 10)
    async with cached().open(make_settings(valkey_url=private_valkey.url)) as shop:
        await shop.statuses(3)
        private_valkey.kill()
        assert (await shop.get()).status_code == 503
        assert shop.runs == 1
