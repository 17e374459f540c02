from collections.abc import AsyncIterator, Mapping

import pytest

from app.core.db import Database
from app.core.monitor import MonitorServer
from app.settings import Settings
from tests.builtin.db_monitor.hostile import SCHEMA
from tests.conftest import TEMPLATE
from tests.counting import counting_database
from tests.sites import Site, whole_site


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


@pytest.fixture(scope="module")
async def attacked(database: Database) -> AsyncIterator[None]:
    """Tables and functions that a statement could do harm with, and extensions."""
    async with database.engine.begin() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute(SCHEMA)
        await driver.execute("CREATE EXTENSION dblink SCHEMA attacked; ANALYZE attacked.notes")
        await driver.execute("CREATE EXTENSION pg_stat_statements SCHEMA attacked")
    yield
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("DROP SCHEMA attacked CASCADE")


@pytest.fixture(scope="module")
async def site(postgres_url: str, valkey_url: str, database: Database, attacked: None) -> AsyncIterator[Site]:
    """A service whose database holds what ``attacked`` made."""
    settings = Settings(
        _env_file=None,
        app_env="test",
        database_url=postgres_url,
        valkey_url=valkey_url,
        valkey_timeout_ms=2000,
    )
    async with whole_site(settings, database) as site:
        yield site
