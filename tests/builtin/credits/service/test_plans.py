"""Plans, from memory most of the time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import event

from app.builtin.credits.service import Plans, set_plan
from app.core.db import Database, DatabaseUnavailable, get_db_context
from app.core.policies import AccountPlan
from app.core.resilience import ManualClock
from tests.builtin.credits.books import until
from tests.servers import PrivateServer

PRO = AccountPlan("pro", "Europe/Vienna")
SetPlan = Callable[..., Awaitable[None]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def plans(database: Database, clean_database: None, clock: ManualClock) -> Plans:
    return Plans(database, clock)


async def put(database: Database, account: str, plan: str = "pro", time_zone: str = "Europe/Vienna") -> None:
    async with get_db_context(database) as session:
        await set_plan(session, account, plan=plan, time_zone=time_zone)


async def test_an_unknown_account_has_the_default_plan(plans: Plans, account: str) -> None:
    assert await plans.plan_of(account) == AccountPlan("default", "UTC")


async def test_a_change_is_seen_after_half_a_minute(
    plans: Plans, database: Database, account: str, clock: ManualClock
) -> None:
    await put(database, account)
    assert await plans.plan_of(account) == PRO
    await put(database, account, plan="free")
    clock.advance(29)
    assert await plans.plan_of(account) == PRO
    clock.advance(2)
    assert (await plans.plan_of(account)).plan == "free"


async def test_what_was_changed_here_is_seen_at_once(plans: Plans, database: Database, account: str) -> None:
    await plans.plan_of(account)
    await put(database, account)
    plans.forget(account)
    assert await plans.plan_of(account) == PRO


async def test_many_who_ask_at_once_share_one_query(plans: Plans, database: Database, account: str) -> None:
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(database.engine.sync_engine, "before_cursor_execute", count)
    try:
        await asyncio.gather(*(plans.plan_of(account) for _ in range(50)))
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", count)
    assert statements == 1


async def test_that_the_first_who_asked_goes_away_does_not_fail_the_others(
    plans: Plans, account: str
) -> None:
    first, second = (asyncio.create_task(plans.plan_of(account)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == AccountPlan()


async def test_it_remembers_so_many_and_forgets_the_oldest(database: Database, clock: ManualClock) -> None:
    plans = Plans(database, clock, most=2)
    for account in ("a", "b", "a", "c"):
        await plans.plan_of(account)
    assert set(plans._known) == {"a", "c"}
    assert len(plans) == 2


class TestOutage:
    async def test_what_is_known_serves_ten_minutes_and_then_it_is_unavailable(
        self, private_postgres: PrivateServer, clock: ManualClock
    ) -> None:
        database = Database(private_postgres.url)
        plans = Plans(database, clock)
        await put(database, "a")
        assert await plans.plan_of("a") == PRO
        private_postgres.terminate()
        with pytest.raises(DatabaseUnavailable):
            await plans.plan_of("b")
        for _ in range(19):
            clock.advance(31)
            assert await plans.plan_of("a") == PRO
        clock.advance(31)
        with pytest.raises(DatabaseUnavailable):
            await plans.plan_of("a")
        private_postgres.restart()
        assert await plans.plan_of("a") == PRO
        await database.close()

    async def test_a_server_that_is_frozen_does_not_hold_up_those_who_are_known(
        self, private_postgres: PrivateServer, clock: ManualClock
    ) -> None:
        database = Database(private_postgres.url)
        plans = Plans(database, clock)
        await put(database, "a")
        assert await plans.plan_of("a") == PRO
        clock.advance(31)
        private_postgres.stop_signal()
        try:
            async with asyncio.timeout(5):
                assert await plans.plan_of("a") == PRO
        finally:
            private_postgres.cont()
        await until(lambda: not plans._reading)
        await database.close()
