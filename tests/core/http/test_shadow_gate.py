"""Shadow mode through the whole gate: credits that cannot even be asked refuse nobody."""

from typing import Any

import pytest

from app.core.db import Database
from app.settings import Settings
from tests.core.http.workshop import fund, priced

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
NO_DATABASE = "postgresql+asyncpg://nobody@127.0.0.1:1/none"


class TestCreditsWhoseAccountCannotBeLoaded:
    async def test_a_request_in_shadow_mode_passes_and_is_reported(self, make_settings: Any) -> None:
        async with priced(shadow=True).open(make_settings(database_url=NO_DATABASE)) as shop:
            assert (await shop.get()).status_code == 200
            assert await shop.keys("*:v1:c") == []
        assert shop.runs == 1
        assert [(event.verdict, event.shadowed) for event in shop.events] == [("admitted", ("credits",))]

    async def test_without_shadow_it_is_503(self, make_settings: Any) -> None:
        async with priced().open(make_settings(database_url=NO_DATABASE)) as shop:
            assert (await shop.get()).status_code == 503
        assert shop.runs == 0
        assert shop.verdicts == ["unavailable"]


async def test_an_account_that_can_be_loaded_is_charged_in_shadow_mode_too(
    settings: Settings, database: Database
) -> None:
    await fund(database, 5)
    async with priced(2, shadow=True).open(settings) as shop:
        assert (await shop.get()).status_code == 200
        assert await shop.left() == (3, 0)
    assert [event.shadowed for event in shop.events] == [()]
