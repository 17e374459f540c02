"""When a quota's period begins and ends: at midnight, or on the first, where the account lives; by the store's clock."""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from app.core.db import Database
from app.settings import Settings
from tests.core.http.gated import WRITER
from tests.core.http.workshop import allowing, put_on, used

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


class Boundary(NamedTuple):
    per: str
    zone: str
    last: str
    first: str


# The last moment of a period and the first one of the next, where the account lives.
BOUNDARIES = [
    Boundary("day", "UTC", "2099-05-05T23:59:59.999", "2099-05-06T00:00:00"),
    Boundary("day", "Asia/Kolkata", "2099-05-05T23:59:59.999", "2099-05-06T00:00:00"),
    Boundary("month", "UTC", "2099-01-31T23:59:59.999", "2099-02-01T00:00:00"),
    Boundary("month", "UTC", "2096-02-29T23:59:59.999", "2096-03-01T00:00:00"),
    Boundary("month", "UTC", "2099-12-31T23:59:59.999", "2100-01-01T00:00:00"),
    Boundary("month", "Pacific/Auckland", "2099-02-28T23:59:59.999", "2099-03-01T00:00:00"),
]


class TestCalendar:
    @pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
    async def test_it_begins_anew_at_midnight_where_the_account_lives_and_not_before(
        self, settings: Settings, database: Database, boundary: Boundary
    ) -> None:
        per, zone, last, first = boundary
        await put_on(database, zone=zone)
        async with allowing(1, per).open(settings) as shop:
            shop.at(last[:10] + "T12:00", zone)
            assert await shop.statuses(1) == [200]
            shop.at(last, zone)
            assert await shop.statuses(1) == [429]
            shop.at(first, zone)
            assert await shop.statuses(2) == [200, 429]
            assert await used(shop) == [1, 1]

    @pytest.mark.parametrize(("day", "hours"), [("2037-03-29", 23), ("2037-10-25", 25), ("2037-03-28", 24)])
    async def test_a_day_of_a_clock_change_is_as_long_as_it_is(
        self, settings: Settings, database: Database, day: str, hours: int
    ) -> None:
        zone = ZoneInfo("Europe/Vienna")
        begins = datetime.fromisoformat(day).replace(tzinfo=zone).timestamp()
        await put_on(database, zone="Europe/Vienna")
        async with allowing(1).open(settings) as shop:
            shop.at(f"{day}T01:30", "Europe/Vienna")
            await shop.get()
            (key,) = await shop.keys("*:v1:q:*")
            ends = await shop.stored("PEXPIRETIME", key) / 1000
        assert key.endswith(f"d{day}")
        assert round((ends - begins) / 3600) == hours

    async def test_accounts_in_two_zones_have_their_own_days(
        self, settings: Settings, database: Database
    ) -> None:
        await put_on(database, zone="America/New_York")
        async with allowing(1).open(settings) as shop:
            shop.at("2099-05-05T23:00")
            assert await shop.statuses(1) == [200]
            assert await shop.statuses(1, who=WRITER) == [200]
            shop.at("2099-05-06T01:00")  # a new day in UTC, the evening of the same one in New York
            assert await shop.statuses(1) == [429]
            assert await shop.statuses(1, who=WRITER) == [200]
