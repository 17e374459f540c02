from collections.abc import AsyncIterator

import pytest

from app.core.db import Database
from app.core.monitor import MonitorServer


@pytest.fixture
async def server(database: Database) -> AsyncIterator[MonitorServer]:
    """The monitor of the tests' database."""
    watched = MonitorServer(database)
    yield watched
    await watched.close()
