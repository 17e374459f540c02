"""Credits at the gate: held when a request is let in, debited when it is done, free when it fails."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from app.core.db import Database
from app.core.policies import (
    CostRequest,
    RateLimit,
)
from app.settings import Settings
from tests.core.http.gated import WRITER
from tests.core.http.workshop import LONG, debits, fund, priced

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


def by_n(request: CostRequest) -> int:
    return int(request.query["n"][0])


class TestCost:
    async def test_it_is_held_while_the_handler_works_and_debited_when_it_is_done(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 5)
        async with priced(2).open(settings) as shop:
            async with shop.in_hand():
                assert await shop.left() == (5, 2)
            assert await shop.left() == (3, 0)

    async def test_a_function_of_the_requests_head_names_it(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 5)
        async with priced(by_n).open(settings) as shop:
            assert (await shop.get("/work?n=4")).status_code == 200
            assert await shop.left() == (1, 0)

    @pytest.mark.parametrize("n", ["many", "1000000001"])
    async def test_a_request_that_it_cannot_be_computed_from_or_that_takes_too_much_is_422_and_free(
        self, settings: Settings, database: Database, n: str
    ) -> None:
        await fund(database, 5)
        async with priced(by_n).open(settings) as shop:
            answer = await shop.get(f"/work?n={n}")
            assert await shop.left() == (5, 0)
        assert (answer.status_code, shop.runs) == (422, 0)
        assert answer.headers["content-type"] == "application/problem+json"
        assert "retry-after" not in answer.headers

    async def test_such_a_request_is_charged_to_the_attempt_limits(
        self, settings: Settings, database: Database
    ) -> None:
        limit = RateLimit.fixed_window(limit=2, window=LONG)
        async with priced(by_n, rate_limit=limit).open(settings) as shop:
            assert await shop.statuses(3, "/work?n=many") == [422, 422, 429]

    @pytest.mark.parametrize("cost", [lambda _: 1.5, lambda _: True, lambda _: None])
    async def test_nonsense_of_ours_is_a_500_that_tells_nothing_and_costs_nothing(
        self, settings: Settings, database: Database, cost: Any
    ) -> None:
        await fund(database, 5)
        async with priced(cost).open(settings) as shop:
            answer = await shop.get()
            assert await shop.left() == (5, 0)
        assert (answer.status_code, shop.runs) == (500, 0)
        assert "detail" not in answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]

    async def test_a_function_that_breaks_is_a_500_and_costs_nothing(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 5)
        async with priced(lambda request: request.price).open(settings) as shop:
            answer = await shop.get()
            assert await shop.left() == (5, 0)
        assert (answer.status_code, shop.runs) == (500, 0)
        assert "price" not in answer.text

    async def test_nothing_is_asked_for_what_costs_nothing(
        self, settings: Settings, database: Database
    ) -> None:
        async with priced(by_n).open(settings) as shop:
            assert (await shop.get("/work?n=0")).status_code == 200
            assert await shop.keys("*:v1:c") == []
        assert await debits(database) == []


class TestRefusal:
    async def test_too_little_is_402_with_what_is_needed_and_there_and_where_to_get_more(
        self, make_settings: Callable[..., Settings], database: Database
    ) -> None:
        await fund(database, 1)
        async with priced(2).open(make_settings(top_up_url="https://example.test/pay")) as shop:
            answer = await shop.get()
        problem = answer.json()
        assert (answer.status_code, shop.runs, shop.verdicts) == (402, 0, ["no_credit"])
        assert (problem["required"], problem["available"]) == (2, 1)
        assert problem["top_up_url"] == "https://example.test/pay"
        assert (problem["policy"], problem["violated-policies"]) == ("work", ["credits"])
        assert "retry-after" not in answer.headers

    async def test_without_an_address_none_is_named(self, settings: Settings) -> None:
        async with priced(2).open(settings) as shop:
            problem = (await shop.get()).json()
        assert (problem["required"], problem["available"]) == (2, 0)
        assert "top_up_url" not in problem

    async def test_credits_that_requests_in_flight_hold_are_429_until_they_are_done(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 3)
        async with priced(2).open(settings) as shop:
            async with shop.in_hand():
                answer = await shop.get()
            assert (await shop.get()).status_code == 402
        problem = answer.json()
        assert (answer.status_code, problem["reason"]) == (429, "credits_held")
        assert (problem["required"], problem["available"]) == (2, 1)
        assert int(answer.headers["retry-after"]) >= 1

    async def test_asking_in_vain_is_charged_to_the_attempt_limits(self, settings: Settings) -> None:
        limit = RateLimit.fixed_window(limit=2, window=LONG)
        async with priced(2, rate_limit=limit).open(settings) as shop:
            answer = await shop.get()
            assert '"user";r=1' in answer.headers["ratelimit"]
            assert await shop.statuses(2) == [402, 429]

    async def test_one_callers_credits_are_not_anothers(self, settings: Settings, database: Database) -> None:
        await fund(database, 2)
        async with priced(2).open(settings) as shop:
            assert (await shop.get(who=WRITER)).status_code == 402
            assert (await shop.get()).status_code == 200

    async def test_of_a_hundred_at_once_on_a_balance_for_ten_ten_are_let_in(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 21)
        async with priced(2).open(settings) as shop:
            shop.free.clear()
            calls = [asyncio.create_task(shop.get()) for _ in range(100)]
            await shop.until(10)
            refused = []
            for answer in asyncio.as_completed(calls):
                refused.append((await answer).status_code)
                if len(refused) == 90:
                    break
            shop.free.set()
            answers = await asyncio.gather(*calls)
            assert await shop.left() == (1, 0)
        assert refused == [429] * 90
        assert Counter(answer.status_code for answer in answers) == {200: 10, 429: 90}
