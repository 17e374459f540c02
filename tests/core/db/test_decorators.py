import inspect
from collections.abc import Awaitable, Callable, Iterator
from itertools import permutations
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from structlog.testing import capture_logs

from app.core.db import (
    FROM_POOL,
    AsyncSession,
    ConstraintViolated,
    Database,
    DatabaseUnavailable,
    PoolCircuitOpen,
    configure,
    configure_environment,
    retry_decorator,
    with_encrypted_parameters,
    with_engine_connection,
    with_pool_metrics,
    with_query_optimization,
    with_secure_environment,
)
from app.core.errors import ConfigurationError
from app.core.security import DataEncryptor, Encrypted, configure_encryption
from app.settings import load_environment_files

Decorated = Callable[..., Awaitable[Any]]
INSERT = text("INSERT INTO entries VALUES (:id, :id, 'x')")
COUNT = text("SELECT count(*) FROM entries")


@pytest.fixture
def default(database: Database) -> Iterator[Database]:
    configure(database)
    configure_encryption(["a key of the tests, thirty-two bytes or more"])
    yield database
    configure(None)
    configure_encryption(None)


async def entries_of(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(COUNT) or 0)


class TestSecureEnvironment:
    async def test_an_unconfigured_process_is_configured_before_the_function_runs(
        self, database: Database
    ) -> None:
        @with_secure_environment
        async def read() -> str:
            return "read"

        loads: list[None] = []

        def load() -> None:
            loads.append(None)
            configure(database)

        configure(None)  # an application of another test may have left its own
        configure_environment(load)
        try:
            assert [await read(), await read()] == ["read", "read"]
        finally:
            configure_environment(load_environment_files)
            configure(None)
        assert len(loads) == 1

    async def test_without_any_configuration_the_function_does_not_run(self) -> None:
        @with_secure_environment
        async def read() -> None:
            pytest.fail("ran")

        configure(None)
        configure_environment(None)
        try:
            with pytest.raises(ConfigurationError):
                await read()
        finally:
            configure_environment(load_environment_files)


class TestEngineConnection:
    async def test_the_function_s_work_is_committed(self, default: Database, entries: None) -> None:
        @with_engine_connection
        async def write(number: int, session: AsyncSession = FROM_POOL) -> int:
            await session.execute(INSERT, {"id": number})
            return number

        assert await write(7) == 7
        assert await entries_of(default) == 1

    async def test_an_error_undoes_it(self, default: Database, entries: None) -> None:
        @with_engine_connection
        async def write(db: AsyncSession = FROM_POOL) -> None:
            await db.execute(INSERT, {"id": 1})
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await write()
        assert await entries_of(default) == 0

    async def test_the_caller_s_session_stays_the_caller_s(self, default: Database, entries: None) -> None:
        @with_engine_connection
        async def write(session: AsyncSession = FROM_POOL) -> AsyncSession:
            await session.execute(INSERT, {"id": 1})
            return session

        async with default.session() as mine:
            assert await write(mine) is mine
            assert mine.in_transaction()
        assert await entries_of(default) == 0

    def test_a_function_without_the_parameter_is_refused(self) -> None:
        async def nothing(other: int) -> None: ...

        with pytest.raises(ConfigurationError, match="nothing has no parameter"):
            with_engine_connection(nothing)


class TestQueryOptimization:
    async def test_a_retry_outside_starts_on_a_whole_transaction(
        self, default: Database, entries: None
    ) -> None:
        attempts = 0

        @with_engine_connection
        @retry_decorator(max_retries=2, base=0)
        @with_query_optimization
        async def write(session: AsyncSession = FROM_POOL) -> None:
            nonlocal attempts
            attempts += 1
            await session.execute(INSERT, {"id": attempts})
            if attempts == 1:
                await session.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"))

        await write()
        assert attempts == 2
        assert await entries_of(default) == 1

    async def test_it_is_timed_and_its_errors_are_ours(self, default: Database, entries: None) -> None:
        @with_query_optimization
        async def write(session: AsyncSession) -> None:
            await session.execute(INSERT, {"id": 1})
            await session.execute(INSERT, {"id": 1})

        async with default.session() as session:
            with pytest.raises(ConstraintViolated):
                await write(session)
        labels = {"operation": write.__qualname__}
        assert REGISTRY.get_sample_value("db_latency_seconds_count", labels) == 1

    async def test_an_open_breaker_refuses_it(self) -> None:
        database, calls = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none"), list[int]()

        @with_query_optimization
        async def read() -> None:
            calls.append(1)
            raise asyncpg.CannotConnectNowError("starting")

        configure(database)
        try:
            for _ in range(5):
                with pytest.raises(DatabaseUnavailable):
                    await read()
            with pytest.raises(PoolCircuitOpen):
                await read()
        finally:
            configure(None)
        assert len(calls) == 5


async def test_pool_metrics_tell_the_share_in_use_and_warn_of_a_full_pool(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1, max_overflow=0, application_name="pool of this test")

    @with_pool_metrics
    async def work() -> str:
        return "done"

    def told() -> float | None:
        return REGISTRY.get_sample_value("gatehouse_pool_utilization_percent", {"pool": "pool of this test"})

    configure(database)
    try:
        with capture_logs() as logged:
            assert await work() == "done"
            assert (told(), logged) == (0, [])
            async with database.connect():
                await work()
        assert told() == 100
        assert [(line["event"], line["percent"]) for line in logged] == [("pool.nearly_full", 100)]
    finally:
        configure(None)
        await database.close()


ALL = (
    with_secure_environment,
    with_engine_connection,
    retry_decorator(max_retries=2, base=0),
    with_query_optimization,
    with_pool_metrics,
    with_encrypted_parameters,
)


async def test_they_work_in_every_order_and_keep_the_signature(default: Database, entries: None) -> None:
    async def store(number: int, secret: Encrypted, session: AsyncSession = FROM_POOL) -> str:
        await session.execute(INSERT, {"id": number})
        return secret

    for number, order in enumerate(permutations(ALL), 1):
        if number % 48:  # fifteen of 720, spread over all
            continue
        decorated: Any = store
        for decorator in reversed(order):
            decorated = decorator(decorated)  # type: ignore[operator]
        assert inspect.signature(decorated) == inspect.signature(store)
        assert inspect.iscoroutinefunction(decorated)
        assert DataEncryptor().decrypt(await decorated(number, "word")) == "word"
    assert await entries_of(default) == 15


@pytest.mark.parametrize(
    "decorator", [with_secure_environment, with_engine_connection, with_query_optimization, with_pool_metrics]
)
def test_a_plain_function_is_refused(decorator: Any) -> None:
    with pytest.raises(ConfigurationError, match="async"):
        decorator(lambda session: session)
