"""Document 000: the pool, the client by environment, and the six decorators."""

from collections.abc import AsyncIterator, Callable, Iterator
from inspect import iscoroutinefunction
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import Depends
from prometheus_client import REGISTRY
from sqlalchemy import select, text
from structlog.testing import capture_logs

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import (
    FROM_POOL,
    AsyncSession,
    ConnectionPool,
    Database,
    DatabaseUnavailable,
    PoolCircuitOpen,
    cached_query,
    configure,
    default_database,
    get_db_client,
    retry_decorator,
    with_encrypted_parameters,
    with_engine_connection,
    with_pool_metrics,
    with_query_optimization,
    with_secure_environment,
)
from app.core.errors import ConfigurationError
from app.core.security import DataEncryptor, Encrypted, configure_encryption
from app.main import create_app
from app.settings import Settings
from tests.apps import running
from tests.requirements.conftest import Serve
from tests.requirements.shop import Item

ONE = text("SELECT 1")


@pytest.fixture(autouse=True)
def keys() -> Iterator[None]:
    """The process's keys, and neither afterwards."""
    configure_encryption(["a key of the tests, thirty-two bytes or more"])
    yield
    configure_encryption(None)


@pytest.fixture
async def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, postgres_url: str) -> AsyncIterator[None]:
    """A process that nobody has configured, with a `.env` in its folder."""
    monkeypatch.chdir(tmp_path)
    # What the file says goes into the environment: these put it back as it was.
    for name in ("DATABASE_URL", "ENCRYPTION_KEYS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (tmp_path / ".env").write_text(f'DATABASE_URL="{postgres_url}"\nENCRYPTION_KEYS={"k" * 40}\n')
    configure(None)
    yield
    await default_database().close()
    configure(None)


async def test_000_05_a_pool_hands_out_a_session_and_takes_it_back(configured: Database) -> None:
    pool = ConnectionPool()
    async with pool.session_scope() as session:
        result = await session.execute(ONE)
        assert result.scalar() == 1
        assert configured.pool_status().checked_out == 1
    assert configured.pool_status().checked_out == 0


async def test_000_06_the_client_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str, valkey_url: str
) -> None:
    supabase = "postgresql://postgres:p@db.abcdefgh.supabase.co:6543/postgres"
    monkeypatch.setenv("VALKEY_URL", valkey_url)
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    async with running(create_app(Settings(_env_file=None, app_env="test"))):
        client = get_db_client()
        assert client.provider == "postgresql"
        async with client as session:
            assert await session.scalar(ONE) == 1
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("SUPABASE_DB_URL", supabase)
    database: Database = create_app(Settings(_env_file=None, app_env="test")).state.gatehouse.database
    assert (database.provider, database.through_pooler) == ("supabase", True)


async def test_000_14_the_client_is_a_dependency_too_and_leaks_nothing(serve: Serve) -> None:
    router, config = APIRouter(), JobConfig.public()

    @router.get("/one", dependencies=[enforce_all_policies("one", config)])
    @api_worker(config)
    async def one(session: Annotated[AsyncSession, Depends(get_db_client)]) -> int:
        return int(await session.scalar(ONE) or 0)

    async with serve(router) as service:
        answers = [(await service.client.get("/one")).json() for _ in range(20)]
        assert service.platform.database.pool_status().checked_out == 0
    assert answers == [1] * 20


def test_000_08_all_six_decorate_an_async_function_bare() -> None:
    async def read(session: AsyncSession = FROM_POOL, token: Encrypted = "") -> str:
        return token

    decorators: tuple[Callable[..., Any], ...] = (
        retry_decorator,
        with_engine_connection,
        with_query_optimization,
        with_pool_metrics,
        with_secure_environment,
        with_encrypted_parameters,
    )
    for decorator in decorators:
        decorated = decorator(read)
        assert decorated is not read
        assert iscoroutinefunction(decorated)
        assert decorated.__name__ == "read"


async def test_000_15_the_six_in_the_guide_s_order_each_do_their_part(script: None) -> None:
    attempts: list[AsyncSession] = []

    @with_secure_environment
    @with_engine_connection
    @retry_decorator(max_retries=5, base=0)
    @with_query_optimization
    @with_pool_metrics
    @with_encrypted_parameters
    async def fetch_sensitive_user_data(ssn: Encrypted, session: AsyncSession = FROM_POOL) -> str:
        attempts.append(session)
        await session.execute(text("CREATE TEMPORARY TABLE attempt (ssn text) ON COMMIT DROP"))
        await session.execute(text("INSERT INTO attempt VALUES (:ssn)"), {"ssn": ssn})
        if len(attempts) < 3:
            await session.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"))
        return str(await session.scalar(text("SELECT string_agg(ssn, ' ') FROM attempt")))

    stored = await fetch_sensitive_user_data("078-05-1120")
    assert DataEncryptor(["k" * 40]).decrypt(stored) == "078-05-1120"  # with the keys of the environment
    assert len(attempts) == 3
    status = default_database().pool_status()
    assert (status.checked_out, status.open) == (0, 1)
    labels = {"operation": fetch_sensitive_user_data.__qualname__}
    assert REGISTRY.get_sample_value("db_latency_seconds_count", labels) == 3
    assert REGISTRY.get_sample_value("gatehouse_pool_utilization_percent", {"pool": "gatehouse"}) == (
        pytest.approx(100 / status.limit)
    )


async def test_000_line_272_the_pool_has_a_breaker_metrics_and_a_validation(postgres_url: str) -> None:
    database = Database(postgres_url, application_name="pool of the guide")
    health = await ConnectionPool(database).health()
    assert health.is_healthy
    for name in ("gatehouse_pool_size", "gatehouse_pool_acquire_seconds_count"):
        assert REGISTRY.get_sample_value(name, {"pool": "pool of the guide"}) == 1
    await database.close()
    nowhere = ConnectionPool(Database("postgresql+asyncpg://nobody@127.0.0.1:1/none"))
    for _ in range(5):
        with pytest.raises(DatabaseUnavailable):
            await nowhere.validate()
    with pytest.raises(PoolCircuitOpen):
        await nowhere.validate()


async def test_000_line_222_the_errors_and_the_attempts_of_a_retry_are_configurable() -> None:
    tries: list[type[Exception]] = []

    @retry_decorator(max_attempts=4, exceptions=(KeyError,), base=0)
    async def operation(error: type[Exception]) -> None:
        tries.append(error)
        raise error

    for error in (KeyError, ZeroDivisionError):
        with pytest.raises(error):
            await operation(error)
    assert tries == [KeyError] * 4 + [ZeroDivisionError]


async def test_000_line_223_a_connection_is_taken_for_the_function_and_given_back(
    configured: Database, shop: UUID
) -> None:
    @with_engine_connection
    async def add(name: str, db: AsyncSession = FROM_POOL) -> None:
        db.add(Item(name=name))
        await db.flush()
        assert configured.pool_status().checked_out == 1
        if name == "broken":
            raise ZeroDivisionError

    await add("paper")
    with pytest.raises(ZeroDivisionError):
        await add("broken")
    assert configured.pool_status().checked_out == 0
    async with configured.session() as session:
        assert sorted(await session.scalars(select(Item.name))) == ["ink", "paper", "pen"]


async def test_000_line_224_a_query_is_optimised_by_a_cache_a_breaker_and_metrics(
    configured: Database, shop: UUID, cached: None
) -> None:
    # A decorator cannot know that a function only reads; the cache is the decorator that says so.
    @cached_query(ttl=60, tables=["shop.items"])
    @with_query_optimization
    async def names(session: AsyncSession, letter: str) -> list[str]:
        return sorted(await session.scalars(select(Item.name).where(Item.name.contains(letter))))

    labels = {"operation": names.__qualname__}
    for _ in range(3):
        async with configured.session() as session:
            assert await names(session, "n") == ["ink", "pen"]
    assert REGISTRY.get_sample_value("db_latency_seconds_count", labels) == 1
    configured.breaker.isolate()
    try:
        async with configured.session() as session:
            assert await names(session, "n") == ["ink", "pen"]
            with pytest.raises(PoolCircuitOpen):
                await names(session, "k")
    finally:
        configured.breaker.close()


async def test_000_line_225_a_pool_that_is_nearly_full_is_told(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1, max_overflow=0, application_name="the pool of line 225")

    @with_pool_metrics
    async def work() -> None: ...

    configure(database)
    try:
        with capture_logs() as logs:
            await work()
            async with database.connect():
                await work()
    finally:
        configure(None)
        await database.close()
    gauge = REGISTRY.get_sample_value("gatehouse_pool_utilization_percent", {"pool": "the pool of line 225"})
    assert gauge == 100
    assert [entry["event"] for entry in logs] == ["pool.nearly_full"]


async def test_000_line_226_the_environment_is_loaded_before_the_database_is_used(script: None) -> None:
    @with_secure_environment
    async def read() -> int:
        async with default_database().session() as session:
            return int(await session.scalar(ONE) or 0)

    with pytest.raises(ConfigurationError):
        default_database()
    assert await read() == 1
