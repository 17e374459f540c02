"""Shadow at the gate: what would have refused is counted and reported, and nobody is refused for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.core.db import Database
from app.core.policies import (
    Breaker,
    Concurrency,
    CostRequest,
    Credits,
    Idempotency,
    JobConfig,
    Quota,
    RateLimit,
    Security,
)
from app.settings import Settings
from tests.core.http.gated import NOBODY, READER
from tests.core.http.workshop import LONG, Workshop, debits, fund

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
LIMIT = RateLimit.fixed_window(limit=1, window=LONG)


def _unknown(_: CostRequest) -> int:
    raise ValueError


ALL = JobConfig(
    rate_limit=LIMIT,
    quota=Quota(per="month", limit=1),
    concurrency=Concurrency(max=1),
    credits=Credits(cost=2),
    shadow=True,
)


class TestWholePolicy:
    async def test_nobody_is_refused_and_all_that_would_have_are_told(self, settings: Settings) -> None:
        async with Workshop(ALL).open(settings) as shop:
            assert (await shop.get()).status_code == 200
            async with shop.in_hand():
                shop.free.set()
                last = await shop.get()
        assert last.status_code == 200
        assert shop.verdicts == ["admitted"] * 3
        assert shop.events[0].shadowed == ("credits",)
        assert set(shop.events[1].shadowed) >= {"user", "month", "credits"}

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"rate_limit": replace(LIMIT, cost=lambda _: 5)}, ("user",)),
            ({"quota": Quota(per="day", limit=5, cost=lambda _: 10**12)}, ("day",)),
            ({"credits": Credits(cost=lambda _: 10**12)}, ("credits",)),
            ({"rate_limit": replace(LIMIT, cost=_unknown)}, ()),
            ({"quota": Quota(per="day", limit=5, cost=_unknown)}, ()),
            ({"credits": Credits(cost=_unknown)}, ()),
        ],
    )
    async def test_a_cost_that_could_never_pass_refuses_nobody(
        self, settings: Settings, options: dict[str, Any], told: tuple[str, ...]
    ) -> None:
        config = JobConfig(**{"rate_limit": None, "shadow": True, **options})
        async with Workshop(config).open(settings) as shop:
            assert (await shop.get()).status_code == 200
        assert shop.events[0].shadowed == told

    async def test_a_full_pool_is_told(self, settings: Settings) -> None:
        config = JobConfig(rate_limit=None, concurrency=Concurrency(max=1, scope="global"), shadow=True)
        async with Workshop(config).open(settings) as shop, shop.in_hand():
            shop.free.set()
            assert (await shop.get(who=NOBODY)).status_code == 200
        assert [event.shadowed for event in shop.events] == [(), ("concurrency",)]

    async def test_callers_are_not_told_of_it(self, settings: Settings) -> None:
        async with Workshop(ALL).open(settings) as shop:
            answer = await shop.get()
        assert "ratelimit" not in answer.headers
        assert "ratelimit-policy" not in answer.headers

    async def test_what_it_counts_is_what_it_would_count_in_earnest(self, settings: Settings) -> None:
        async with Workshop(ALL).open(settings) as shop:
            assert await shop.statuses(2) == [200, 200]
            (key,) = await shop.keys("*:v1:q:*")
            assert await shop.stored("GET", key) == b"1"

    @pytest.mark.parametrize("settle", ["strict", "batched"])
    @pytest.mark.parametrize("funds", [0, 1, 9])
    @pytest.mark.parametrize("key", [{}, {"idempotency_key": "k"}], ids=["", "claimed"])
    async def test_nobody_pays_or_owes_anything(
        self, settings: Settings, database: Database, settle: Any, funds: int, key: dict[str, Any]
    ) -> None:
        if funds:
            await fund(database, funds)
        config = replace(ALL, credits=Credits(cost=2, settle=settle), idempotency=Idempotency())
        async with Workshop(config).open(settings) as shop:
            async with shop.in_hand():
                assert await shop.left() == (funds, 0)
            assert (await shop.post(**key)).status_code == 200
            assert await shop.left() == (funds, 0)
            told = [("credits" in event.shadowed) for event in shop.events]
        assert told == [funds < 2] * 2
        assert await debits(database) == []

    async def test_it_takes_nothing_from_what_others_of_the_account_may_spend(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 2)
        shop = Workshop(ALL)
        shop.add("/earnest", "earnest", JobConfig(rate_limit=None, credits=Credits(cost=2)))
        async with shop.open(settings), shop.in_hand():
            shop.free.set()
            assert (await shop.get("/earnest")).status_code == 200
            assert await shop.left() == (0, 0)

    async def test_an_outage_refuses_nobody(self, make_settings: Callable[..., Settings]) -> None:
        settings = make_settings(valkey_url="valkey://127.0.0.1:1/0")
        closed = replace(
            ALL,
            rate_limit=replace(LIMIT, on_store_down="closed"),
            quota=Quota(per="month", limit=1, on_store_down="closed"),
        )
        async with Workshop(closed).open(settings) as shop:
            assert await shop.statuses(3) == [200] * 3


class TestNotInShadow:
    async def test_who_asks_and_what_he_may_are_checked_all_the_same(self, settings: Settings) -> None:
        config = replace(ALL, security=Security(scopes=("read:records",)))
        async with Workshop(config).open(settings) as shop:
            assert (await shop.client.get("/work")).status_code == 401
            assert (await shop.get(who=NOBODY)).status_code == 403

    async def test_a_key_is_run_once(self, settings: Settings) -> None:
        config = replace(ALL, idempotency=Idempotency())
        async with Workshop(config).open(settings) as shop:
            assert [(await shop.post(idempotency_key="k")).status_code for _ in range(2)] == [200, 200]
            assert shop.runs == 1

    async def test_an_open_circuit_is_open(self, settings: Settings) -> None:
        shop = Workshop(replace(ALL, circuit_breaker=Breaker(dependency="weather", min_calls=1)))
        shop.outcome = ConnectionError()
        async with shop.open(settings):
            assert await shop.statuses(2) == [500, 503]

    async def test_a_public_endpoint_keeps_its_limit_per_network(self, settings: Settings) -> None:
        limit = RateLimit.fixed_window("ip", limit=1, window=LONG, scope="ip")
        async with Workshop(JobConfig.public(rate_limit=limit, shadow=True)).open(settings) as shop:
            assert [(await shop.client.get("/work")).status_code for _ in range(2)] == [200, 429]


class TestOneOfSeveral:
    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ({"rate_limit": (replace(LIMIT, shadow=True), replace(LIMIT, name="b", quota=2))}, "user"),
            ({"rate_limit": replace(LIMIT, quota=2), "quota": Quota(per="month", limit=1, shadow=True)}, "month"),
        ],
        ids=["limit", "quota"],
    )  # fmt: skip
    async def test_only_the_others_refuse(
        self, settings: Settings, options: dict[str, Any], name: str
    ) -> None:
        async with Workshop(JobConfig(**options)).open(settings) as shop:
            assert await shop.statuses(3) == [200, 200, 429]
        assert [event.shadowed for event in shop.events] == [(), (name,), (name,)]
        assert shop.events[2].principal_id == READER.id
