"""RateLimit and RateLimit-Policy tell quotas too: what is left, and until when."""

import re
from typing import Any

import pytest

from app.core.policies import JobConfig, Quota, RateLimit, ResponseCache
from app.settings import Settings
from tests.core.http.workshop import LONG, Workshop

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
LIMIT = RateLimit.fixed_window(limit=10, window=LONG)
DAY = Quota(per="day", limit=3)
MONTH = Quota(per="month", limit={"default": 50, "pro": 500}, cost=5)
DAY_S, MONTH_S = 25 * 3600, 31 * 86_400 + 3600


def shop_of(quota: Any, limit: RateLimit | None = LIMIT, **options: Any) -> Workshop:
    return Workshop(JobConfig(quota=quota, rate_limit=limit, **options))


def fields(answer: Any) -> tuple[str, str]:
    """Both fields, with the seconds of the second taken out."""
    return answer.headers["ratelimit-policy"], re.sub(r";t=\d+", "", answer.headers["ratelimit"])


def seconds(answer: Any) -> dict[str, int]:
    found = re.findall(r'"(\w+)";r=\d+;t=(\d+)', answer.headers["ratelimit"])
    return {name: int(left) for name, left in found}


async def test_quotas_follow_the_limits(settings: Settings) -> None:
    async with shop_of((DAY, MONTH)).open(settings) as shop:
        answer = await shop.get()
        again = await shop.get()
    policy = f'"user";q=10;w={int(LONG)}, "day";q=3, "month";q=50'
    assert fields(answer) == (policy, '"user";r=9, "day";r=2, "month";r=45')
    assert fields(again) == (policy, '"user";r=8, "day";r=1, "month";r=40')
    left = seconds(answer)
    assert 0 < left["day"] <= DAY_S
    assert left["day"] <= left["month"] <= MONTH_S


async def test_a_quota_that_is_used_up_says_when_it_begins_anew(settings: Settings) -> None:
    async with shop_of(DAY, limit=None).open(settings) as shop:
        await shop.statuses(3)
        refused = await shop.get()
    assert refused.status_code == 429
    assert fields(refused) == ('"day";q=3', '"day";r=0')
    assert 0 < seconds(refused)["day"] <= int(refused.headers["retry-after"])


async def test_one_in_shadow_mode_does_not_show(settings: Settings) -> None:
    async with shop_of(Quota(per="day", limit=1, shadow=True)).open(settings) as shop:
        answers = [await shop.get() for _ in range(2)]
    assert [fields(answer)[1] for answer in answers] == ['"user";r=9', '"user";r=8']


async def test_one_that_was_not_looked_at_does_not_show(settings: Settings) -> None:
    """A cached answer takes no quota, and the script does not read it then."""
    async with shop_of(DAY, cache=ResponseCache(ttl=60)).open(settings) as shop:
        answers = [await shop.get() for _ in range(2)]
    assert [fields(answer)[1] for answer in answers] == ['"user";r=9, "day";r=2', '"user";r=8']


async def test_a_refusal_of_a_limit_tells_what_the_quota_has(settings: Settings) -> None:
    async with shop_of(DAY, limit=RateLimit.fixed_window(limit=1, window=LONG)).open(settings) as shop:
        await shop.get()
        refused = await shop.get()
    assert refused.status_code == 429
    assert fields(refused)[1] == '"user";r=0, "day";r=2'


async def test_while_the_store_is_away_nothing_shows(make_settings: Any) -> None:
    async with shop_of(DAY).open(make_settings(valkey_url="valkey://127.0.0.1:1/0")) as shop:
        answer = await shop.get()
    assert answer.status_code == 200
    assert not {"ratelimit", "ratelimit-policy"} & answer.headers.keys()


async def test_openapi_tells_of_them(settings: Settings) -> None:
    async with shop_of(DAY, limit=None).open(settings) as shop:
        document = (await shop.client.get("/openapi.json")).json()
    assert {"RateLimit", "RateLimit-Policy"} <= document["paths"]["/work"]["get"]["responses"]["200"][
        "headers"
    ].keys()
