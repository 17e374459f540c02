"""Looks at stored answers whose question is made once: what is remembered is never an answer, nor anybody else's question."""

from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from app.core.db import Database
from app.core.http import Platform
from app.core.policies import Admission, KnownQuestion, RateLimit, ResponseCache
from app.settings import Settings
from tests.core.http.gated import READER, WRITER
from tests.core.http.workshop import Workshop, fund, priced
from tests.servers import PrivateServer

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
FEW = RateLimit.fixed_window("few", limit=8, window=86_400.0 * 300)


def cached(**options: Any) -> Workshop:
    cache = ResponseCache(ttl=60, tags=("work:{user}",), **options)
    return priced(cache=cache, rate_limit=FEW)


class Known:
    """The questions that were asked as they had been made before."""

    def __init__(self, platform: Platform) -> None:
        self.asked: list[KnownQuestion] = []
        self._ask = platform.admitter.admit_known
        platform.admitter.admit_known = self._take  # type: ignore[method-assign]

    async def _take(self, question: KnownQuestion) -> Admission:
        self.asked.append(question)
        return await self._ask(question)


async def test_a_known_question_is_counted_limited_and_answered_like_any_other(
    settings: Settings, database: Database
) -> None:
    await fund(database, 10)
    async with cached().open(settings) as shop:
        known = Known(shop.platform)
        answers = [await shop.get() for _ in range(10)]
        assert [answer.status_code for answer in answers] == [200] * 8 + [429] * 2
        left = [answer.headers["ratelimit"].split(";")[1] for answer in answers]
        assert left == ["r=7", "r=6", "r=5", "r=4", "r=3", "r=2", "r=1", "r=0", "r=0", "r=0"]
        # Computed, found, looked for alone, and from then on known, until it was refused once.
        assert shop.verdicts == ["admitted", *["hit"] * 7, *["limited"] * 2]
        assert (len(known.asked), shop.runs, await shop.left()) == (6, 1, (8, 0))


async def test_another_caller_path_or_query_is_another_question(
    settings: Settings, database: Database
) -> None:
    for who in (READER, WRITER):
        await fund(database, 10, who)
    async with cached(scope="tenant").open(settings) as shop:
        known = Known(shop.platform)
        await shop.statuses(4)
        assert len(known.asked) == 1
        others = [await shop.get(who=WRITER), await shop.get("/work?n=1"), await shop.get("/work?n=2")]
        assert [answer.headers["cache-status"] for answer in others] == ["gatehouse; fwd=miss; stored"] * 3
        assert (len(known.asked), shop.runs) == (1, 4)


async def test_the_same_name_with_other_rights_is_another_caller(
    settings: Settings, database: Database
) -> None:
    await fund(database, 10)
    shop = cached()
    async with shop.open(settings):
        await shop.statuses(4)
        tokens: Any = shop.platform.tokens
        known = Known(shop.platform)
        tokens._known[READER.id] = replace(READER, roles=frozenset())
        answer = await shop.get()
        assert (answer.headers["cache-status"], known.asked) == ("gatehouse; fwd=miss; stored", [])


async def test_what_is_changed_or_gone_is_computed_anew(settings: Settings, database: Database) -> None:
    await fund(database, 10)
    async with cached().open(settings) as shop:
        await shop.statuses(4)
        known = Known(shop.platform)
        await shop.platform.cache.end_tags(f"work:{READER.id}")
        assert (await shop.get()).json() == {"run": 2}
        assert len(known.asked) == 1
        assert (await shop.get()).headers["cache-status"].startswith("gatehouse; hit")
        assert len(known.asked) == 1, "it is not known whether it is there"


async def test_a_caller_of_another_network_is_counted_there(settings: Settings, database: Database) -> None:
    await fund(database, 10)
    per_network = RateLimit.fixed_window("net", limit=100, window=86_400.0 * 300, scope="ip")
    shop = priced(cache=ResponseCache(ttl=60), rate_limit=per_network)
    proxied = settings.model_copy(update={"trusted_proxies": [IPv4Network("127.0.0.1/32")]})
    async with shop.open(proxied):
        await shop.statuses(4)
        answer = await shop.get(x_forwarded_for="192.0.2.1")
        assert answer.headers["ratelimit"].startswith('"net";r=99;')


async def test_an_answer_of_the_store_that_is_lost_is_asked_for_again_in_full(
    make_settings: Any, database: Database, private_valkey: PrivateServer
) -> None:
    await fund(database, 10)
    async with cached().open(make_settings(valkey_url=private_valkey.url)) as shop:
        await shop.statuses(4)
        known = Known(shop.platform)
        private_valkey.kill()
        assert (await shop.get()).status_code == 503  # credits are not given for nothing
        assert (len(known.asked), shop.runs) == (1, 1)
