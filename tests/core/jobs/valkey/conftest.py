"""Valkey's broker for the tests of this folder."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.core.jobs import ValkeyBroker
from app.core.valkey import ValkeyClient
from tests.core.jobs.valkey.hands import PREFIX, Make


@pytest.fixture
async def make(store: ValkeyClient, clean_store: None) -> AsyncIterator[Make]:
    """Makes brokers, and closes them."""
    made: list[ValkeyBroker] = []

    def make_one(**options: Any) -> ValkeyBroker:
        made.append(ValkeyBroker(store, **{"prefix": PREFIX, "timeout_s": 30.0, **options}))
        return made[-1]

    yield make_one
    for one in made:
        await one.close()


@pytest.fixture
def broker(make: Make) -> ValkeyBroker:
    return make()
