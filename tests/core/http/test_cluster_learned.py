"""A service that nobody told that its store is a Cluster, as after an outage at its start: the first call that crosses slots teaches it."""

import asyncio
from collections.abc import Callable

import pytest

from app.core.db import Database
from app.core.http import Platform
from app.core.policies import Concurrency, Credits, Idempotency, JobConfig, Quota, RateLimit, ResponseCache
from app.settings import Settings
from tests.core.http.workshop import LONG, Workshop, debits, fund
from tests.servers import PrivateServer

pytestmark = pytest.mark.usefixtures("clean_database", "cluster")
CONFIG = JobConfig(
    rate_limit=(
        RateLimit.fixed_window("mine", limit=100, window=LONG, on_store_down="closed"),
        RateLimit.fixed_window("all", limit=100, window=LONG, scope="global", charge="admit"),
    ),
    quota=Quota(per="day", limit=100),
    credits=Credits(cost=1),
    concurrency=(Concurrency(max=50), Concurrency(name="pool", max=50, scope="global")),
    cache=ResponseCache(ttl=60, tags=("orders",)),
    idempotency=Idempotency(),
)


class Untold:
    async def learn(self) -> None:
        """The store was away."""


def keep_from_learning(platform: Platform) -> None:
    platform.__dict__["cluster_mode"] = Untold()


async def test_the_first_requests_of_all_are_served_by_the_store(
    make_settings: Callable[..., Settings], database: Database, cluster_node: PrivateServer
) -> None:
    await fund(database, 10)
    async with Workshop(CONFIG).open(make_settings(valkey_url=cluster_node.url), keep_from_learning) as shop:
        known = [shop.platform.admitter.is_clustered]
        asked = [shop.get(f"/work?n={n}") for n in range(3)]
        claimed = [shop.post(idempotency_key=f"k{n}") for n in range(3)]
        answers = await asyncio.gather(*asked, *claimed)
        assert [answer.status_code for answer in answers] == [200] * 6
        assert [event.degraded for event in shop.events] == [False] * 6
        assert [*known, shop.platform.admitter.is_clustered] == [False, True]
        assert await shop.left() == (4, 0)
        assert int(await shop.stored("GET", (await shop.keys("*:v1:q:*"))[0])) == 6
        assert [await shop.stored("ZCARD", key) for key in await shop.keys("*:v1:s:*")] == []
    assert len(await debits(database)) == 6
