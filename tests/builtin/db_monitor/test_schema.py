"""``/db-monitor/indexes``, ``/tables`` and ``/table-stats``, and the history that they show."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.builtin.db_monitor.jobs import periodic
from app.builtin.db_monitor.repository import TableSamples
from app.builtin.db_monitor.router import router
from app.builtin.db_monitor.service import TableSampling, provide_monitor
from app.core.db import Database, get_db_context, keep_partitions
from app.core.monitor import SAMPLES_TABLE, MonitorServer, TableSize, TableSizeMonitor
from app.core.monitor._table_sizes import sizes_to_store
from app.registry import Feature
from app.settings import Settings
from tests.core.monitor.shelf import shelf
from tests.gated import Service, bearer, serving

RIGHTS = bearer(UUID("00000000-0000-7000-8000-00000000000c"), scopes=("read:monitor",))
MB = 1_048_576


@pytest.fixture(scope="module")
async def service(make_settings: Any, postgres_url: str, database: Database) -> AsyncIterator[Service]:
    settings: Settings = make_settings()
    feature = Feature(name="db_monitor", router=router, provides=provide_monitor, periodic=periodic)
    async with shelf(postgres_url), serving(settings, feature) as service:
        yield service


async def ask(service: Service, path: str, status: int = 200) -> Any:
    answer = await service.client.get(path, headers=RIGHTS)
    assert answer.status_code == status, answer.text
    return answer.json()


class TestPaths:
    async def test_the_indexes_are_told_with_what_to_do(self, service: Service) -> None:
        body = await ask(service, "/db-monitor/indexes?limit=100")
        redundant = {index["name"]: index for index in body["redundant"] if index["schema"] == "shelf"}
        assert redundant["books_title_again"]["covered_by"] == "books_title"
        assert redundant["books_title_again"]["ddl"] == [
            'DROP INDEX CONCURRENTLY "shelf"."books_title_again";'
        ]
        assert "books_isbn_once" in {index["name"] for index in body["invalid"]}
        assert "books_author_id_fkey" in {key["constraint"] for key in body["foreign_keys"]}
        checks = {finding["check"] for finding in body["findings"]}
        assert {"indexes.duplicate", "indexes.invalid", "indexes.foreign_key"} <= checks
        few = await ask(service, "/db-monitor/indexes?limit=1")
        assert [len(few[kind]) for kind in ("redundant", "invalid", "foreign_keys")] == [1, 1, 1]

    async def test_the_tables_come_page_by_page(self, service: Service) -> None:
        first = await ask(service, "/db-monitor/tables?limit=3")
        second = await ask(service, "/db-monitor/tables?limit=3&page=2")
        assert len(first["items"]) == len(second["items"]) == 3
        assert first["total"] == second["total"] > 6
        sizes = [table["total_bytes"] for table in first["items"]]
        assert sizes == sorted(sizes, reverse=True)
        assert first["items"][0]["growth"]["basis"] in {"estimate", "measured"}

    async def test_a_table_is_told_whatever_its_name(self, service: Service) -> None:
        body = await ask(service, "/db-monitor/table-stats/shelf.books")
        assert (body["table"]["schema"], body["table"]["name"]) == ("shelf", "books")
        assert {"books_pkey", "books_isbn_once"} <= {index["name"] for index in body["indexes"]}
        assert body["vacuum"]["is_enabled"] is False
        odd = await ask(service, "/db-monitor/table-stats/" + quote('shelf.Odd.Na"me'))
        assert odd["table"]["name"] == 'Odd.Na"me'
        assert odd["columns"][0]["name"] == "a"
        problem = await ask(service, "/db-monitor/table-stats/shelf.nothing", 404)
        assert "shelf.nothing" in problem["detail"]

    @pytest.mark.parametrize(
        "path", ["tables?limit=101", "tables?page=0", "indexes?limit=0", "tables?x=1", "table-stats/%00"]
    )
    async def test_bad_input_is_422(self, service: Service, path: str) -> None:
        await ask(service, f"/db-monitor/{path}", 422)


@pytest.fixture
async def now(database: Database, clean_database: None) -> datetime:
    """The server's time; a partition for the week before is there."""
    async with get_db_context(database) as session:
        at: datetime = await session.scalar(text("SELECT now()"))
        await keep_partitions(session, SAMPLES_TABLE, today=(at.astimezone(UTC) - timedelta(days=8)).date())
    return at


async def count(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(text(f"SELECT count(*) FROM {SAMPLES_TABLE}")) or 0)


class TestHistory:
    """Samples are taken by hand: the periodic work of these apps begins after a whole period."""

    @pytest.fixture
    async def books(self, service: Service) -> TableSize:
        async with service.platform.require(MonitorServer).ask() as asked:
            _, tables = await sizes_to_store(asked)
        return next(table for table in tables if (table.schema, table.name) == ("shelf", "books"))

    async def test_samples_become_growth_and_a_forecast(
        self, service: Service, database: Database, now: datetime, books: TableSize
    ) -> None:
        async with get_db_context(database) as session:
            samples = TableSamples(session)
            for hours, size in ((96, 10), (24, 10), (0, 34)):
                sized = replace(books, heap_bytes=size * MB, toast_bytes=0, index_bytes=0)
                assert await samples.add(now - timedelta(hours=hours), [sized]) == 1
        body = await ask(service, "/db-monitor/table-stats/%22shelf%22.books")
        growth = body["table"]["growth"]
        assert (growth["basis"], growth["points"]) == ("measured", 3)
        assert (growth["bytes_per_hour"], growth["bytes_per_day"]) == (MB, 6 * MB)
        assert growth["bytes_in_30_days"] == (34 + 180) * MB
        assert [point["bytes"] for point in body["history"]] == [10 * MB, 10 * MB, 34 * MB]
        async with database.session() as session:
            trend = await TableSizeMonitor(session).get_growth_trend("shelf.books")
        assert (trend["basis"], trend["growth_rate_mb_per_hour"]) == ("measured", 1.0)

    async def test_what_did_not_change_is_written_once_an_hour(
        self, database: Database, now: datetime, books: TableSize
    ) -> None:
        async with get_db_context(database) as session:
            samples = TableSamples(session)
            stored = [
                await samples.add(now - timedelta(minutes=minutes), [replace(books, live_rows=rows)])
                for minutes, rows in ((120, 1), (115, 1), (110, 2), (60, 2), (45, 2))
            ]
        assert stored == [1, 0, 1, 0, 1]  # the first, a change, and one that is over an hour after that

    async def test_one_run_stores_all_tables_and_the_next_only_what_grew(
        self, service: Service, database: Database, now: datetime
    ) -> None:
        sampling = service.platform.require(TableSampling)
        assert "monitor.table_samples" in {task.name for task in periodic(service.platform)}
        assert await sampling.take() >= 10
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql(
                "CREATE TABLE shelf.grown AS SELECT generate_series(1, 5000) AS n"
            )
        before = await count(database)
        await sampling.take()
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE shelf.grown")
            names = await connection.exec_driver_sql(
                f"SELECT DISTINCT schema_name || '.' || table_name FROM {SAMPLES_TABLE}"
            )
            found = set(names.scalars())
        assert {"shelf.grown", "shelf.visits", "public.events_log"} <= found
        assert "shelf.visits_old" not in found
        assert before < await count(database) < 2 * before

    async def test_months_that_are_too_old_go_and_missing_ones_are_made(
        self, service: Service, database: Database, now: datetime
    ) -> None:
        month = text("SELECT count(*) FROM pg_class WHERE relname = 'monitor_table_samples_y2001m11'")
        async with get_db_context(database) as session:
            await keep_partitions(
                session, SAMPLES_TABLE, ahead=0, today=datetime(2001, 11, 5, tzinfo=UTC).date()
            )
            newest = await session.scalar(
                text(
                    "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = to_regclass(:table)"
                ),
                {"table": SAMPLES_TABLE},
            )
            await session.execute(text(f"DROP TABLE {newest}"))
            assert await session.scalar(month) == 1
        await service.platform.require(TableSampling).take()
        async with database.session() as session:
            assert await session.scalar(month) == 0
            assert await session.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": newest})

    async def test_a_server_that_takes_no_writes_is_told_once(
        self, service: Service, database: Database, postgres_url: str, now: datetime
    ) -> None:
        async with database.engine.begin() as connection:
            name = (await connection.exec_driver_sql("SELECT current_database()")).scalar_one()
            await connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        refusing = Database(postgres_url)
        sampling = TableSampling(service.platform.require(MonitorServer), refusing, months=3)
        try:
            with capture_logs() as logs:
                assert [await sampling.take(), await sampling.take()] == [0, 0]
        finally:
            await refusing.close()
            async with database.engine.begin() as connection:
                await connection.exec_driver_sql("SET LOCAL transaction_read_only = off")
                await connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert [entry["event"] for entry in logs] == ["monitor.history_is_off"]
        assert await count(database) == 0
