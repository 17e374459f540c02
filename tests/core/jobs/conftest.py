from collections.abc import AsyncIterator

import pytest

from app.core.db import Database
from app.core.valkey import ValkeyClient
from tests.emptying import empty_tables


@pytest.fixture(scope="module")
async def own_jobs(database: Database, store: ValkeyClient) -> AsyncIterator[None]:
    """No message is there that is not of this module, and nothing that its workers did is left for others."""
    await store.execute("FLUSHDB")
    yield
    await empty_tables(database)
