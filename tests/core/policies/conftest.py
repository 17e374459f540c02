from collections.abc import AsyncIterator

import pytest

from app.core.db import Database
from app.core.valkey import ValkeyClient
from tests.core.policies.office import Office


@pytest.fixture
async def office(store: ValkeyClient, database: Database) -> AsyncIterator[Office]:
    office = Office(store, database)
    yield office
    await office.ledger.aclose()
