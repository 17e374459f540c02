import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import asyncpg
import pytest

from app.core.db import Database
from app.core.valkey import ValkeyClient
from app.dev import EmbeddedValkey
from tests.chaos.stage import TABLES, Stage
from tests.migrated import migrated
from tests.processes import Api
from tests.servers import CopiedPostgres, PrivateServer, new_folder


@pytest.fixture(scope="package")
async def stage(servers: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Servers of these tests' own. A test that kills one starts it again."""
    folder = new_folder()
    postgres = CopiedPostgres(folder / "postgres", await migrated(servers["pattern"]))
    valkey = EmbeddedValkey(folder / "valkey", durable=False)
    try:
        valkey.launch()
        postgres.start()
        valkey.wait_ready()
        pool = asyncpg.create_pool(postgres.url().replace("+asyncpg", ""), min_size=0, max_size=5)
        await pool
        database, store = Database(postgres.url()), ValkeyClient(valkey.url(), timeout_s=5.0)
        stage = Stage(
            PrivateServer(postgres, postgres.url),
            PrivateServer(valkey, valkey.url),
            database,
            store,
            pool,
            tmp_path_factory.mktemp("gates"),
        )
        async with stage.sql() as sql:
            # Without it a commit that was answered may be gone after kill -9, which no service could make up for.
            await sql.execute("ALTER DATABASE postgres SET synchronous_commit = on")
            await sql.execute(TABLES)
        yield stage
        await stage.check_books()
        await pool.close()
        await store.close()
        await database.close()
    finally:
        postgres.kill()
        valkey.kill()
        shutil.rmtree(folder)


@pytest.fixture(scope="package")
async def pair(stage: Stage) -> AsyncIterator[tuple[Api, Api]]:
    """Two processes of the service that live through all of these tests: nothing may need them to start again."""
    async with AsyncExitStack() as stack:
        one, two = await asyncio.gather(*(stack.enter_async_context(stage.process()) for _ in range(2)))
        yield one, two
        assert [api.process.poll() for api in (one, two)] == [None, None]
