"""Quotas at the gate: a plan's allowance of a calendar day or month where the account lives, charged when all else agrees."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import HTTPException

from app.core.db import Database
from app.core.policies import (
    CostRequest,
    Credits,
    Idempotency,
    JobConfig,
    Quota,
    QuotaExceeded,
    RateLimit,
    ResponseCache,
)
from app.settings import Settings
from tests.core.http.gated import WRITER
from tests.core.http.workshop import FAILURES, LONG, allowing, put_on, used

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


def by_n(request: CostRequest) -> int:
    return int(request.query["n"][0])


class TestAllowance:
    async def test_when_it_is_used_up_it_is_429_until_the_period_ends(self, settings: Settings) -> None:
        async with allowing(2).open(settings) as shop:
            before = int((await shop.stored("TIME"))[0])
            answers = [await shop.get() for _ in range(3)]
            after = int((await shop.stored("TIME"))[0])
            (key,) = await shop.keys("*:v1:q:*")
            ends = await shop.stored("PEXPIRETIME", key) // 1000
        problem, refused = answers[2].json(), answers[2]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert problem["type"] == QuotaExceeded.type
        assert (problem["policy"], problem["violated-policies"]) == ("work", ["day"])
        # Up to a minute more, so that not all come back at once.
        assert ends - after - 1 <= int(refused.headers["retry-after"]) <= ends - before + 61
        assert (shop.runs, shop.verdicts) == (2, ["admitted", "admitted", "quota"])

    async def test_exactly_as_many_as_allowed_of_many_at_once(self, settings: Settings) -> None:
        async with allowing(7).open(settings) as shop:
            answers = await asyncio.gather(*(shop.get() for _ in range(40)))
        assert Counter(answer.status_code for answer in answers) == {200: 7, 429: 33}

    async def test_each_account_has_its_own(self, settings: Settings) -> None:
        async with allowing(1).open(settings) as shop:
            assert await shop.statuses(2) == [200, 429]
            assert await shop.statuses(2, who=WRITER) == [200, 429]

    async def test_day_and_month_must_both_agree_and_all_that_refuse_are_named(
        self, settings: Settings
    ) -> None:
        both = (Quota(per="day", limit=1), Quota(per="month", limit=1))
        async with allowing(quota=both).open(settings) as shop:
            assert (await shop.get()).status_code == 200
            refused = await shop.get()
            assert await used(shop) == [1, 1]
        assert refused.json()["violated-policies"] == ["day", "month"]

    async def test_endpoints_that_share_one_spend_it_together(self, settings: Settings) -> None:
        quota = Quota(per="month", limit=2, shared="exports")
        shop = allowing(quota=quota)
        shop.add("/other", "other", JobConfig(quota=quota))
        async with shop.open(settings):
            assert [(await shop.get(path)).status_code for path in ("/work", "/other", "/work")] == [
                200,
                200,
                429,
            ]

    async def test_endpoints_that_do_not_have_their_own(self, settings: Settings) -> None:
        shop = allowing(1)
        shop.add("/other", "other", JobConfig(quota=Quota(per="day", limit=1)))
        async with shop.open(settings):
            assert [(await shop.get(path)).status_code for path in ("/work", "/other")] == [200, 200]


class TestPlan:
    async def test_it_says_how_much_and_what_it_does_not_name_gets_the_default(
        self, settings: Settings, database: Database
    ) -> None:
        await put_on(database, "pro")
        async with allowing({"default": 1, "pro": 3}).open(settings) as shop:
            assert await shop.statuses(4) == [200] * 3 + [429]
            assert await shop.statuses(2, who=WRITER) == [200, 429]

    async def test_one_that_gets_nothing_is_refused_from_the_first_request(self, settings: Settings) -> None:
        async with allowing({"default": 0, "pro": 3}).open(settings) as shop:
            assert await shop.statuses(1) == [429]


class TestCost:
    async def test_a_function_of_the_requests_head_names_it(self, settings: Settings) -> None:
        quota = Quota(per="day", limit=5, cost=by_n)
        async with allowing(quota=quota).open(settings) as shop:
            statuses = [(await shop.get(f"/work?n={n}")).status_code for n in (3, 3, 2, 0)]
            assert await used(shop) == [5]
        assert statuses == [200, 429, 200, 200]

    @pytest.mark.parametrize("n", ["many", "1000000001", "-1"])
    async def test_what_makes_no_sense_takes_nothing(self, settings: Settings, n: str) -> None:
        async with allowing(quota=Quota(per="day", limit=5, cost=by_n)).open(settings) as shop:
            answer = await shop.get(f"/work?n={n}")
            assert await used(shop) == []
        assert (answer.status_code, shop.runs) == (422, 0)
        assert answer.headers["content-type"] == "application/problem+json"


class TestGivenBack:
    @pytest.mark.parametrize("failure", ["not found", "unexpected"])
    async def test_what_the_handler_raises_gives_it_back(self, settings: Settings, failure: str) -> None:
        shop = allowing(1)
        shop.outcome, status = FAILURES[failure]
        async with shop.open(settings):
            assert await shop.statuses(2) == [status, status]
            assert await used(shop) == [0]

    @pytest.mark.parametrize(
        ("negative_ttl", "headers", "charged"),
        [(60, {}, 1), (0, {}, 0), (60, {"Set-Cookie": "a=b"}, 0)],
        ids=["kept", "none is kept", "this one may not be kept"],
    )
    async def test_a_404_that_is_kept_for_others_is_what_was_asked_for(
        self, settings: Settings, negative_ttl: int, headers: dict[str, str], charged: int
    ) -> None:
        shop = allowing(9, cache=ResponseCache(ttl=60, negative_ttl=negative_ttl))
        shop.outcome = HTTPException(404, headers=headers)
        async with shop.open(settings):
            answers = []
            for _ in range(2):
                answers.append(await shop.get())
                await shop.settled()
            assert await used(shop) == [charged]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert shop.runs == (1 if charged else 2)
        assert ("no-store" in answers[0].headers["cache-control"]) == (charged == 0)

    async def test_a_wrong_body_gives_it_back(self, settings: Settings) -> None:
        async with allowing(1).open(settings) as shop:
            assert (await shop.post_nonsense()).status_code == 422
            assert await used(shop) == [0]

    async def test_a_caller_who_leaves_gets_it_back(self, settings: Settings) -> None:
        async with allowing(1).open(settings) as shop:
            async with shop.in_hand() as task:
                assert await used(shop) == [1]
                await shop.leave(task)
            assert await used(shop) == [0]

    async def test_a_handler_that_is_not_done_in_time_gives_it_back(self, settings: Settings) -> None:
        shop = allowing(1, timeout=0.01)
        shop.free.clear()
        async with shop.open(settings):
            assert await shop.statuses(2) == [504, 504]
            assert await used(shop) == [0]

    async def test_an_answer_of_the_handler_is_what_was_asked_for_whatever_its_status(
        self, settings: Settings
    ) -> None:
        shop = allowing(1)
        shop.outcome, status = FAILURES["refused"]
        async with shop.open(settings):
            assert await shop.statuses(2) == [status, 429]


class TestOrder:
    async def test_what_others_refuse_does_not_use_it(self, settings: Settings) -> None:
        options: dict[str, Any] = {
            "credits": Credits(cost=1),
            "rate_limit": RateLimit.fixed_window(limit=1, window=LONG),
        }
        async with allowing(9, **options).open(settings) as shop:
            assert await shop.statuses(2) == [402, 429]
            assert await used(shop) == []

    async def test_a_quota_that_refuses_leaves_the_attempt_charged(self, settings: Settings) -> None:
        limit = RateLimit.fixed_window(limit=2, window=LONG)
        async with allowing(0, rate_limit=limit).open(settings) as shop:
            answers = [await shop.get() for _ in range(3)]
        assert [answer.json()["violated-policies"] for answer in answers] == [
            ["day"],
            ["day"],
            ["user", "day"],
        ]

    async def test_a_cached_answer_does_not_use_it(self, settings: Settings) -> None:
        async with allowing(1, cache=ResponseCache(ttl=60)).open(settings) as shop:
            assert await shop.statuses(3) == [200] * 3
            assert await used(shop) == [1]

    async def test_a_replay_does_not_use_it(self, settings: Settings) -> None:
        async with allowing(1, idempotency=Idempotency()).open(settings) as shop:
            assert [(await shop.post(idempotency_key="k")).status_code for _ in range(3)] == [200] * 3
            assert (await shop.post(idempotency_key="other")).status_code == 429


class TestOutage:
    AWAY = "valkey://127.0.0.1:1/0"

    async def test_closed_is_503_and_never_429(self, make_settings: Callable[..., Settings]) -> None:
        quota = Quota(per="day", limit=5, on_store_down="closed")
        async with allowing(quota=quota).open(make_settings(valkey_url=self.AWAY)) as shop:
            answer = await shop.get()
        assert (answer.status_code, shop.runs) == (503, 0)
        assert int(answer.headers["retry-after"]) >= 1

    @pytest.mark.parametrize(("down", "last"), [("local", 429), ("open", 200)])
    async def test_otherwise_it_goes_on_in_this_process(
        self, make_settings: Callable[..., Settings], down: Any, last: int
    ) -> None:
        quota = Quota(per="day", limit=4, on_store_down=down)
        settings = make_settings(valkey_url=self.AWAY, replicas=2)
        async with allowing(quota=quota).open(settings) as shop:
            assert await shop.statuses(3) == [200, 200, last]
