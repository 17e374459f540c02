from collections.abc import AsyncIterator

import pytest

from app.core.db import Database
from app.core.monitor import MonitorServer
from tests.core.monitor.shelf import shelf


@pytest.fixture
async def server(database: Database) -> AsyncIterator[MonitorServer]:
    """The monitor of the tests' database."""
    watched = MonitorServer(database)
    yield watched
    await watched.close()


@pytest.fixture(scope="module")
async def shelf_made(postgres_url: str) -> AsyncIterator[None]:
    """The schema of ``tests.core.monitor.shelf``."""
    async with shelf(postgres_url):
        yield
