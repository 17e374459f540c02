"""What an application does when it starts and when it stops."""

from collections.abc import Mapping
from typing import Any

import pytest

from app.core.db import get_db_context
from app.core.http import Platform
from app.core.policies import default_engine
from app.core.valkey import default_cache
from app.registry import Feature
from app.settings import Settings
from tests.gated import serving

pytestmark = pytest.mark.usefixtures("clean_store")


def ending(*stops: Any) -> Feature:
    """A feature that wants these called at the end."""

    def provides(platform: Platform, _: Any) -> Mapping[type[Any], Any]:
        platform.on_stop.extend(stops)
        return {}

    return Feature(name="ending", provides=provides)


class TestStart:
    async def test_it_ends_with_letting_requests_in(self, settings: Settings) -> None:
        async with serving(settings) as service:
            assert service.platform.traffic.is_open
            assert default_cache() is service.platform.cache
            assert default_engine() is service.platform.engine


class TestStop:
    async def test_features_end_while_the_connections_are_open(self, settings: Settings) -> None:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await platform.store.execute("PING"))
            async with get_db_context(platform.database) as session:
                answers.append(await session.connection() is not None)

        async with serving(settings, ending(ask)) as service:
            platform = service.platform
        assert answers == [b"PONG", True]
        assert (platform.traffic.is_open, platform.traffic.is_draining) == (False, True)

    async def test_one_that_fails_is_logged_and_keeps_no_other_from_it(
        self, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ended: list[str] = []

        def fail() -> None:
            raise ZeroDivisionError

        async with serving(settings, ending(fail, lambda: ended.append("the other"))):
            pass
        assert ended == ["the other"]
        assert "app.stop_failed" in capsys.readouterr().out
