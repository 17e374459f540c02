from collections.abc import AsyncIterator, Mapping

import pytest

from app.core.db import Database
from app.core.monitor import MonitorServer
from tests.conftest import TEMPLATE
from tests.counting import counting_database


@pytest.fixture(scope="module")
async def counted(
    servers: Mapping[str, str], worker_number: int, postgres_url: str
) -> AsyncIterator[Database]:
    """A migrated database whose statements are counted; ``postgres_url`` makes the template. Other roles may not use the schema of the
    extension.
    """
    async with counting_database(
        servers, f"history_{worker_number}", template=TEMPLATE, schema="statistics"
    ) as database:
        yield database


@pytest.fixture(scope="module")
async def watched(counted: Database) -> AsyncIterator[MonitorServer]:
    server = MonitorServer(counted)
    yield server
    await server.close()
