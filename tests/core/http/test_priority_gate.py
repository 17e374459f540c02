"""Shedding at the gate: what matters least is refused first when the process is nearly full, before anything else is looked at."""

from collections.abc import Callable
from typing import Any

import pytest

from app.core.policies import JobConfig, RateLimit
from app.settings import Settings
from tests.core.http.gated import READER
from tests.core.http.workshop import LONG, Workshop

pytestmark = pytest.mark.usefixtures("clean_store")
PRIORITIES: tuple[Any, ...] = ("sheddable", "default", "critical")


def hospital() -> Workshop:
    """An endpoint of each priority."""
    shop = Workshop(JobConfig(rate_limit=None, priority="critical"))
    for priority in PRIORITIES:
        limit = RateLimit.fixed_window(limit=1, window=LONG)
        shop.add(f"/{priority}", priority, JobConfig(rate_limit=limit, priority=priority))
    return shop


async def asked(shop: Workshop, in_hand: int) -> list[int]:
    """The status of each priority while that many other requests are being worked on."""
    traffic = shop.platform.traffic
    before, traffic.in_flight = traffic.in_flight, in_hand
    found = [(await shop.get(f"/{priority}")).status_code for priority in PRIORITIES]
    traffic.in_flight = before
    return found


class TestOrder:
    @pytest.mark.parametrize(
        ("in_hand", "statuses"),
        [
            (15, [200, 200, 200]),
            (16, [503, 200, 200]),
            (18, [503, 200, 200]),
            (19, [503, 503, 200]),
            (20, [503, 503, 503]),
        ],
    )
    async def test_sheddable_goes_first_and_critical_last(
        self, make_settings: Callable[..., Settings], in_hand: int, statuses: list[int]
    ) -> None:
        async with hospital().open(make_settings(max_in_flight=20)) as shop:
            assert await asked(shop, in_hand) == statuses

    async def test_requests_that_are_worked_on_fill_it_and_make_room_when_they_end(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        async with hospital().open(make_settings(max_in_flight=1)) as shop:
            async with shop.in_hand():
                assert (await shop.get("/sheddable")).status_code == 503
            assert shop.platform.traffic.in_flight == 0
            assert (await shop.get("/sheddable")).status_code == 200


class TestRefusal:
    async def test_it_says_when_to_come_back_and_is_told_and_counted(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        async with hospital().open(make_settings(max_in_flight=20)) as shop:
            shop.platform.traffic.in_flight = 16
            answer = await shop.get("/sheddable")
            assert shop.platform.traffic.shed == 1
        assert answer.json()["type"].endswith("#temporary-reduced-capacity")
        assert 1 <= int(answer.headers["retry-after"]) <= 3
        assert [(event.policy, event.verdict) for event in shop.events] == [("sheddable", "shed")]
        assert shop.runs == 0

    async def test_it_comes_before_the_token_is_looked_at(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        async with hospital().open(make_settings(max_in_flight=20)) as shop:
            shop.platform.traffic.in_flight = 16
            assert (await shop.client.get("/sheddable")).status_code == 503
            assert (await shop.client.get("/critical")).status_code == 401

    async def test_it_costs_nothing(self, make_settings: Callable[..., Settings]) -> None:
        async with hospital().open(make_settings(max_in_flight=20)) as shop:
            assert (await asked(shop, 16))[0] == 503
            assert [(await shop.get("/sheddable", READER)).status_code for _ in range(2)] == [200, 429]
