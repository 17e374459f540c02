"""The response cache while Valkey is away: one computation per answer in this process, few at once, and nobody gets another's."""

import asyncio
from collections import Counter
from collections.abc import Hashable
from typing import Any

import httpx2
import pytest
from fastapi import HTTPException
from fastapi.responses import JSONResponse

from app.core.context import Principal
from app.core.http._local_flights import LocalFlights
from app.core.policies import Concurrency, JobConfig, ResponseCache
from app.core.valkey import StoreError
from app.settings import Settings
from tests.core.http.gated import READER, WRITER
from tests.core.http.workshop import Workshop
from tests.servers import PrivateServer

CACHE = ResponseCache(ttl=60, tags=("work",))


@pytest.fixture
def no_store(make_settings: Any) -> Settings:
    settings: Settings = make_settings(valkey_url="valkey://127.0.0.1:1/0")
    return settings


def shop_of(cache: ResponseCache = CACHE, **options: Any) -> Workshop:
    return Workshop(JobConfig(cache=cache, rate_limit=None, **options))


class Followers(list[Hashable]):
    """The names of the answers that callers wait for, one for each."""

    async def reach(self, number: int) -> None:
        for _ in range(30_000):
            if len(self) >= number:
                return
            await asyncio.sleep(0.001)
        raise TimeoutError


@pytest.fixture
def followers(monkeypatch: pytest.MonkeyPatch) -> Followers:
    names, wait_for = Followers(), LocalFlights.wait_for

    async def noted(flights: LocalFlights, name: Hashable, timeout_s: float) -> Any:
        names.append(name)
        return await wait_for(flights, name, timeout_s)

    monkeypatch.setattr(LocalFlights, "wait_for", noted)
    return names


async def together(shop: Workshop, followers: Followers, *callers: Principal) -> list[httpx2.Response]:
    """One request of each caller, all of which are in hand before the handler may end."""
    shop.free.clear()
    calls = [asyncio.ensure_future(shop.get(who=caller)) for caller in callers]
    await shop.until(len(set(callers)))
    await followers.reach(len(callers) - len(set(callers)))
    shop.free.set()
    return await asyncio.gather(*calls)


async def test_fifty_equal_requests_are_one_computation(no_store: Settings, followers: Followers) -> None:
    async with shop_of().open(no_store) as shop:
        answers = await together(shop, followers, *[READER] * 50)
    assert shop.runs == 1
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    said = Counter(answer.headers["cache-status"] for answer in answers)
    assert sorted(said.values()) == [1, 49]
    assert "collapsed" in max(said, key=lambda text: said[text])
    assert all(answer.headers["cache-control"] == "private, max-age=60" for answer in answers)
    assert Counter(shop.verdicts) == {"admitted": 1, "hit": 49}


async def test_nothing_is_kept_for_who_comes_later(no_store: Settings) -> None:
    async with shop_of().open(no_store) as shop:
        assert [(await shop.get()).json()["run"] for _ in range(3)] == [1, 2, 3]


async def test_another_caller_has_his_own_computed(no_store: Settings, followers: Followers) -> None:
    async with shop_of().open(no_store) as shop:
        answers = await together(shop, followers, *[READER, WRITER] * 5)
    assert shop.runs == 2
    bodies = [answer.content for answer in answers]
    assert len(set(bodies)) == 2
    assert bodies == bodies[:2] * 5


async def test_who_asks_after_a_change_does_not_get_what_was_begun_before_it(no_store: Settings) -> None:
    async with shop_of().open(no_store) as shop:
        shop.free.clear()
        first = asyncio.ensure_future(shop.get())
        await shop.until(1)
        with pytest.raises(StoreError):
            await shop.platform.cache.invalidate_tags("work")
        second = asyncio.ensure_future(shop.get())
        await shop.until(2)
        shop.free.set()
        assert [(await first).status_code, (await second).status_code] == [200, 200]


class Crowd(Workshop):
    """Notes how many work at once."""

    busy = most = 0

    async def work(self) -> Any:
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await asyncio.sleep(0)
            return await super().work()
        finally:
            self.busy -= 1


@pytest.mark.parametrize(
    "outcome",
    [HTTPException(503), JSONResponse({}, headers={"Set-Cookie": "a=b"})],
    ids=["an error", "a cookie"],
)
async def test_what_is_not_for_others_they_compute_themselves_few_at_once(
    no_store: Settings, followers: Followers, outcome: Any
) -> None:
    crowd = Crowd(JobConfig(cache=CACHE, rate_limit=None))
    crowd.outcome = outcome
    async with crowd.open(no_store) as shop:
        answers = await together(shop, followers, *[READER] * 50)
    assert crowd.runs == 50
    assert len({answer.status_code for answer in answers}) == 1
    assert 1 < crowd.most <= 16


@pytest.mark.parametrize(("options", "most"), [({}, 16), ({"outage_max": 3}, 3), ({"outage_max": 20}, 20)])
async def test_who_finds_no_place_in_time_is_503(
    no_store: Settings, options: dict[str, Any], most: int
) -> None:
    async with shop_of(ResponseCache(ttl=60, hard_timeout=0.05, **options)).open(no_store) as shop:
        shop.free.clear()
        calls = [asyncio.ensure_future(shop.get(f"/work?n={number}")) for number in range(most)]
        await shop.until(most)
        refused = await shop.get("/work?n=99")
        shop.free.set()
        answers = await asyncio.gather(*calls)
        later = await shop.get("/work?n=99")
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    assert int(refused.headers["retry-after"]) >= 1
    assert {answer.status_code for answer in (*answers, later)} == {200}


async def test_a_leader_that_goes_away_leaves_his_place_to_another(
    no_store: Settings, followers: Followers
) -> None:
    async with shop_of(ResponseCache(ttl=60, hard_timeout=30)).open(no_store) as shop:
        shop.free.clear()
        first = asyncio.ensure_future(shop.get())
        await shop.until(1)
        second = asyncio.ensure_future(shop.get())
        await followers.reach(1)
        first.cancel()
        await shop.until(2)
        shop.free.set()
        assert (await second).json()["run"] == 2


async def test_who_waits_takes_no_slot(no_store: Settings, followers: Followers) -> None:
    async with shop_of(concurrency=Concurrency(max=2)).open(no_store) as shop:
        shop.free.clear()
        calls = [asyncio.ensure_future(shop.get())]
        await shop.until(1)
        for number in range(1, 5):
            calls.append(asyncio.ensure_future(shop.get()))
            await followers.reach(number)
        shop.free.set()
        assert [(await call).status_code for call in calls] == [200] * 5
    assert shop.runs == 1


@pytest.mark.parametrize("how", ["kill", "stop_signal"])
async def test_a_server_that_goes_away_in_the_middle_and_comes_back(
    make_settings: Any, private_valkey: PrivateServer, followers: Followers, how: str
) -> None:
    """Killed, or alive and silent: then each call waits for the budget before it is given up."""
    settings = make_settings(valkey_url=private_valkey.url, valkey_timeout_ms=500)
    async with shop_of().open(settings) as shop:
        assert [(await shop.get()).json()["run"] for _ in range(2)] == [1, 1]
        getattr(private_valkey, how)()
        shop.runs = 0
        answers = await together(shop, followers, *[READER] * 50)
        assert (shop.runs, {answer.status_code for answer in answers}) == (1, {200})
        if how == "kill":
            private_valkey.restart()
        else:
            private_valkey.cont()
        for _ in range(1000):
            if "detail=store_down" not in (await shop.get()).headers["cache-status"]:
                break
            await asyncio.sleep(0.01)
        kept = await shop.get()
        assert kept.headers["cache-status"].startswith("gatehouse; hit")


@pytest.mark.parametrize("most", [0, -1, 10_001])
def test_places_for_an_outage_are_one_to_ten_thousand(most: int) -> None:
    with pytest.raises(ValueError, match=r"ResponseCache\.outage_max"):
        ResponseCache(ttl=60, outage_max=most)
