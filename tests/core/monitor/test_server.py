import asyncio

import asyncpg
import pytest

from app.core.db import Database
from app.core.monitor import (
    APPLICATION_NAME,
    MonitorBusy,
    MonitorLocked,
    MonitorServer,
    MonitorTimeout,
    MonitorUnreachable,
)
from tests.servers import PrivateServer


class TestAsk:
    async def test_a_write_is_refused_and_nothing_is_left(self, server: MonitorServer) -> None:
        async with server.ask() as connection:
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await connection.execute("CREATE TABLE made_by_the_monitor (a int)")
        async with server.ask() as connection:
            assert await connection.fetchval("SELECT to_regclass('made_by_the_monitor')") is None

    async def test_a_statement_over_its_time_is_ended_and_the_connection_serves_on(
        self, server: MonitorServer
    ) -> None:
        with pytest.raises(MonitorTimeout):
            async with server.ask(statement_timeout_ms=20) as connection:
                await connection.fetch("SELECT pg_sleep(30)")
        assert await server.put(lambda asked: asked.fetchval("SELECT 1")) == 1

    async def test_all_questions_together_have_a_budget(self, server: MonitorServer) -> None:
        with pytest.raises(MonitorTimeout):
            async with server.ask(statement_timeout_ms=60_000, budget_s=0.05) as connection:
                await connection.fetch("SELECT pg_sleep(30)")
        assert await server.put(lambda asked: asked.fetchval("SELECT 1")) == 1

    async def test_who_finds_both_connections_taken_is_told_so(self, server: MonitorServer) -> None:
        async with server.ask(budget_s=20), server.ask(budget_s=20):
            with pytest.raises(MonitorBusy):
                await server.put(lambda asked: asked.fetchval("SELECT 1"))

    async def test_a_locked_table_is_not_waited_for(self, server: MonitorServer, database: Database) -> None:
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("LOCK TABLE records IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(MonitorLocked):
                await server.put(lambda asked: asked.fetchval("SELECT count(*) FROM public.records"))
            await connection.rollback()

    async def test_a_caller_that_goes_away_takes_no_connection_with_it(self, server: MonitorServer) -> None:
        async def ask() -> None:
            async with server.ask(statement_timeout_ms=30_000, budget_s=30) as asked:
                await asked.execute("SELECT pg_sleep(30)")

        asking = asyncio.create_task(ask())
        while not await server.put(_sleeping):
            pass
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with server.ask(), server.ask() as other:
            assert await other.fetchval("SELECT 1") == 1

    async def test_no_server_is_unreachable(self) -> None:
        nowhere = MonitorServer(Database("postgresql://nobody@127.0.0.1:1/none"))
        with pytest.raises(MonitorUnreachable):
            await nowhere.facts()
        await nowhere.close()

    async def test_a_server_that_hangs_costs_the_budget_and_is_asked_again_when_it_wakes(
        self, private_postgres: PrivateServer
    ) -> None:
        server = MonitorServer(Database(private_postgres.url))
        await server.facts()
        private_postgres.stop_signal()
        try:
            with pytest.raises(MonitorTimeout):
                async with server.ask(budget_s=0.2) as connection:
                    await connection.fetchval("SELECT 1")
        finally:
            private_postgres.cont()
        assert await server.put(lambda asked: asked.fetchval("SELECT 2")) == 2
        await server.close()


class TestFacts:
    async def test_the_server_says_what_it_is(self, server: MonitorServer) -> None:
        facts = await server.facts()
        assert facts.version >= 150_000
        assert not facts.is_standby
        assert facts.has("plpgsql")
        assert not facts.has("hypopg")
        assert "pg_trgm" in facts.available


async def _sleeping(asked: object) -> int:
    return await asked.fetchval(  # type: ignore[attr-defined,no-any-return]
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE '%pg_sleep(30)%'"
        " AND pid <> pg_backend_pid() AND state = 'active' AND datname = current_database()",
        APPLICATION_NAME,
    )
