import asyncpg
import valkey.asyncio

from tests.servers import PrivateServer


async def test_shared_postgres_answers_with_its_settings(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    try:
        assert await connection.fetchval("SHOW shared_preload_libraries") == "pg_stat_statements"
        assert await connection.fetchval("SHOW listen_addresses") == ""
    finally:
        await connection.close()


async def test_shared_valkey_answers_with_its_settings(valkey_url: str) -> None:
    async with valkey.asyncio.Valkey.from_url(valkey_url, decode_responses=True) as client:
        assert await client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


async def test_private_valkey_comes_back_on_its_url_after_a_kill(private_valkey: PrivateServer) -> None:
    before = private_valkey.pid
    private_valkey.kill()
    private_valkey.restart()
    assert private_valkey.pid != before
    async with valkey.asyncio.Valkey.from_url(private_valkey.url) as client:
        assert await client.ping()


async def test_private_postgres_comes_back_on_its_url_after_a_kill(private_postgres: PrivateServer) -> None:
    private_postgres.kill()
    private_postgres.restart()
    connection = await asyncpg.connect(private_postgres.url.replace("+asyncpg", ""))
    await connection.close()
