"""The kill switch at the gate: an endpoint that is switched off is refused before anything else, and nothing of it is shown or taken."""

from collections.abc import Callable

import pytest

from app.core.db import Database
from app.core.http import Platform
from app.core.policies import (
    Board,
    Credits,
    Idempotency,
    JobConfig,
    Quota,
    RateLimit,
    ResponseCache,
    Switch,
    Switches,
)
from app.settings import Settings
from tests.core.http.workshop import LONG, Workshop, fund, used

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
OFF = Switch("work", "off", "it floods the mill", "operator", "2026-11-21T00:00:00Z")


class Operator:
    """Switches of one application, turned by hand."""

    def __init__(self) -> None:
        self._version = 0
        self.switches: Switches | None = None

    def install(self, platform: Platform) -> None:
        self.switches = platform.switches = Switches(platform.store, period_s=3600)

    def set(self, *switches: Switch) -> None:
        assert self.switches is not None
        self._version += 1
        self.switches.take(Board(self._version, switches))


@pytest.fixture
def operator() -> Operator:
    return Operator()


async def test_it_is_503_that_does_not_say_why_and_other_endpoints_go_on(
    settings: Settings, operator: Operator
) -> None:
    shop = Workshop(JobConfig())
    shop.add("/other", "other", JobConfig())
    async with shop.open(settings, operator.install):
        operator.set(OFF)
        refused = await shop.get()
        assert (await shop.get("/other")).status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
    assert (refused.json()["policy"], refused.json()["reason"]) == ("work", "endpoint_disabled")
    assert "mill" not in refused.text
    assert shop.verdicts == ["disabled", "admitted"]


async def test_switched_on_again_it_serves(settings: Settings, operator: Operator) -> None:
    async with Workshop(JobConfig()).open(settings, operator.install) as shop:
        operator.set(OFF)
        assert await shop.statuses(1) == [503]
        operator.set()
        assert await shop.statuses(1) == [200]


async def test_it_comes_before_the_token_and_costs_nothing(settings: Settings, operator: Operator) -> None:
    limit = RateLimit.fixed_window(limit=1, window=LONG)
    async with Workshop(JobConfig(rate_limit=limit)).open(settings, operator.install) as shop:
        operator.set(OFF)
        assert (await shop.client.get("/work")).status_code == 503
        assert await shop.statuses(2) == [503, 503]
        operator.set()
        assert await shop.statuses(2) == [200, 429]


@pytest.mark.parametrize("priority", ["critical", "default", "sheddable"])
async def test_no_priority_passes_by_it(settings: Settings, operator: Operator, priority: str) -> None:
    async with Workshop(JobConfig(priority=priority)).open(settings, operator.install) as shop:  # type: ignore[arg-type]
        operator.set(OFF)
        assert await shop.statuses(1) == [503]


async def test_nothing_is_taken_and_nothing_that_is_kept_is_shown(
    settings: Settings, database: Database, operator: Operator
) -> None:
    config = JobConfig(
        rate_limit=None,
        credits=Credits(cost=2),
        quota=Quota(per="month", limit=9),
        cache=ResponseCache(ttl=60),
        idempotency=Idempotency(),
    )
    await fund(database, 9)
    async with Workshop(config).open(settings, operator.install) as shop:
        await shop.get()
        await shop.post(idempotency_key="k")
        await shop.settled()
        operator.set(OFF)
        assert (await shop.get()).status_code == 503
        assert (await shop.post(idempotency_key="k")).status_code == 503
        assert await shop.left() == (5, 0)
        assert await used(shop) == [2]


async def test_what_is_in_hand_is_finished(settings: Settings, operator: Operator) -> None:
    async with Workshop(JobConfig()).open(settings, operator.install) as shop:
        async with shop.in_hand() as task:
            operator.set(OFF)
            assert (await shop.get()).status_code == 503
        assert (await task).status_code == 200


async def test_shadow_does_not_soften_it(settings: Settings, operator: Operator) -> None:
    async with Workshop(JobConfig(shadow=True)).open(settings, operator.install) as shop:
        operator.set(OFF)
        assert await shop.statuses(1) == [503]


async def test_it_holds_while_the_store_is_away(
    make_settings: Callable[..., Settings], operator: Operator
) -> None:
    settings = make_settings(valkey_url="valkey://127.0.0.1:1/0")
    async with Workshop(JobConfig()).open(settings, operator.install) as shop:
        assert await shop.statuses(1) == [200]
        operator.set(OFF)
        assert await shop.statuses(1) == [503]
