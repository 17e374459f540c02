"""Sizes, growth and the detail of tables, on one schema."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.core.db import Database
from app.core.errors import NotFound
from app.core.monitor import (
    Growth,
    MonitorServer,
    SizePoint,
    TableSize,
    TableSizeMonitor,
    table_detail,
    table_sizes,
)
from app.core.monitor._bloat import Width, btree_bloat, heap_bloat
from app.core.monitor._growth import Turnover, estimated_growth, growth_between
from app.core.monitor._table_detail import meanings
from app.core.monitor._table_sizes import sizes_to_store, table_findings
from tests.conftest import TEMPLATE
from tests.core.monitor.shelf import shelf
from tests.counting import counting_database

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MB = 1_048_576


@pytest.fixture(scope="module")
async def database(
    servers: Mapping[str, str], worker_number: int, postgres_url: str
) -> AsyncIterator[Database]:
    """One of which no other test makes tables grow, or shrink between two looks; ``postgres_url`` makes the template."""
    async with counting_database(servers, f"tables_{worker_number}", template=TEMPLATE) as database:
        yield database


@pytest.fixture(scope="module")
async def shelf_made(database: Database) -> AsyncIterator[None]:
    async with shelf(database.url):
        yield


@pytest.fixture(scope="module")
async def server(shelf_made: None, database: Database) -> AsyncIterator[MonitorServer]:
    """One for all tests here: to connect takes longer than to ask."""
    watched = MonitorServer(database)
    yield watched
    await watched.close()


async def shelf_tables(server: MonitorServer) -> dict[str, TableSize]:
    async with server.ask() as asked:
        found = await table_sizes(asked, limit=100)
    assert [it.total_bytes for it in found.tables] == sorted(
        (it.total_bytes for it in found.tables), reverse=True
    )
    assert found.total == len(found.tables)
    return {table.name: table for table in found.tables if table.schema == "shelf"}


class TestSizes:
    async def test_sizes_and_counts_are_the_servers_own(
        self, server: MonitorServer, database: Database
    ) -> None:
        tables = await shelf_tables(server)
        assert {"authors", "books", "visits", 'Odd.Na"me'} <= set(tables)
        assert "visits_old" not in tables
        books = tables["books"]
        async with database.connect() as connection:
            total = await connection.scalar(text("SELECT pg_total_relation_size('shelf.books')"))
        assert books.total_bytes == total
        assert books.is_exact
        assert (books.inserted, books.deleted, books.estimated_rows) == (3000, 1000, 2000)
        assert books.dead_rows >= 1000 or books.last_vacuum is not None
        assert books.last_analyze is not None
        assert books.hot_percent is None

    async def test_partitions_stand_under_their_parent(
        self, server: MonitorServer, database: Database
    ) -> None:
        visits = (await shelf_tables(server))["visits"]
        assert (visits.kind, visits.partitions, visits.live_rows) == ("partitioned", 2, 700)
        async with database.connect() as connection:
            parts = await connection.scalar(
                text(
                    "SELECT pg_total_relation_size('shelf.visits_old') + pg_total_relation_size('shelf.visits_new')"
                )
            )
        assert visits.total_bytes == parts

    async def test_a_page_is_a_part_of_all(self, server: MonitorServer) -> None:
        async with server.ask() as asked:
            whole = await table_sizes(asked, limit=100)
            first, second = [await table_sizes(asked, limit=2, offset=start) for start in (0, 2)]
            beyond = await table_sizes(asked, limit=2, offset=10_000)
        names = [{(it.schema, it.name) for it in page.tables} for page in (first, second)]
        assert [len(page) for page in names] == [2, 2]
        assert not names[0] & names[1]
        assert first.total == second.total == whole.total
        assert beyond.tables == ()

    async def test_a_locked_table_keeps_the_size_that_analyze_saw_and_takes_no_other_with_it(
        self, server: MonitorServer, database: Database
    ) -> None:
        before = await shelf_tables(server)
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("LOCK TABLE shelf.books IN ACCESS EXCLUSIVE MODE")
            tables = await shelf_tables(server)
            detail = await server.put(lambda asked: table_detail(asked, "shelf.books"))
            _, stored = await server.put(sizes_to_store)
            await connection.rollback()
        assert (tables["books"].is_exact, tables["authors"].is_exact) == (False, True)
        assert 0 < tables["books"].heap_bytes <= before["books"].heap_bytes
        assert {index.definition for index in detail.indexes} == {None}
        assert len(detail.columns) == 7
        names = {(it.schema, it.name) for it in stored}
        assert ("shelf", "authors") in names
        assert ("shelf", "books") not in names

    async def test_the_documents_class_asks_over_a_session(
        self, shelf_made: None, database: Database
    ) -> None:
        async with database.session() as session:
            monitor = TableSizeMonitor(session)
            sizes = await monitor.get_table_sizes()
            largest = await monitor.get_largest_tables(limit=2)
            trend = await monitor.get_growth_trend("shelf.books")
            with pytest.raises(ValueError, match="1 to 100"):
                await monitor.get_largest_tables(limit=0)
            with pytest.raises(NotFound):
                await monitor.get_growth_trend("nowhere")
        assert list(largest) == list(sizes[:2])
        assert "books" in {it.name for it in sizes}
        assert (trend["table"], trend["basis"], trend["points"]) == ("shelf.books", "estimate", 0)
        assert trend["growth_rate_mb_per_hour"] > 0


class TestDetail:
    async def test_columns_are_told_without_a_value_of_theirs(self, server: MonitorServer) -> None:
        detail = await server.put(lambda asked: table_detail(asked, "shelf.books"))
        columns = {column.name: column for column in detail.columns}
        assert columns["editor_id"].null_share == 1
        assert columns["id"].n_distinct == -1
        assert columns["id"].correlation == 1
        assert list(columns["isbn"].common_shares) == [1.0]
        assert (columns["title"].type, columns["id"].is_required, columns["title"].is_required) == (
            "text",
            True,
            False,
        )
        assert columns["isbn"].width == 5
        assert "'" not in repr(detail.columns).replace("name='", "").replace("type='", "").replace("',", "")

    async def test_indexes_have_their_use_and_size_and_no_literal(self, server: MonitorServer) -> None:
        detail = await server.put(lambda asked: table_detail(asked, "shelf.books"))
        indexes = {index.name: index for index in detail.indexes}
        assert "secret" not in repr(detail)
        assert indexes["books_isbn_some"].definition == (
            "CREATE INDEX books_isbn_some ON shelf.books USING btree (isbn) WHERE (title = ?::text)"
        )
        assert (indexes["books_pkey"].is_primary, indexes["books_pkey"].constraint) == (True, "books_pkey")
        assert indexes["books_isbn_carrying"].included == ("note",)
        assert indexes["books_lower"].columns == ("(expression)",)
        assert not indexes["books_isbn_once"].is_valid
        assert indexes["books_title"].bytes > 8192

    async def test_vacuum_is_told_by_the_tables_own_thresholds(self, server: MonitorServer) -> None:
        vacuum = (await server.put(lambda asked: table_detail(asked, "shelf.books"))).vacuum
        assert vacuum is not None
        assert not vacuum.is_enabled
        assert vacuum.dead_threshold == 7 + 1000
        assert vacuum.freeze_max_age == 200_000_000
        ordinary = (await server.put(lambda asked: table_detail(asked, "shelf.authors"))).vacuum
        assert ordinary is not None
        assert ordinary.is_enabled
        assert ordinary.dead_threshold == 60
        assert ordinary.analyze_threshold == 55
        assert not ordinary.is_vacuum_due

    async def test_a_name_is_taken_as_the_catalogs_have_it(self, server: MonitorServer) -> None:
        names = {
            "shelf.books": ("shelf", "books"),
            '"shelf"."books"': ("shelf", "books"),
            'shelf.Odd.Na"me': ("shelf", 'Odd.Na"me'),
            'shelf."Odd.Na""me"': ("shelf", 'Odd.Na"me'),
            "shelf.visits_old": ("shelf", "visits_old"),
            "records": ("public", "records"),
        }
        async with server.ask() as asked:
            for name, found in names.items():
                size = (await table_detail(asked, name)).size
                assert (size.schema, size.name) == found

    async def test_what_is_no_table_of_users_is_not_found(self, server: MonitorServer) -> None:
        names = (
            "books", "shelf.Books", "shelf.books;", "shelf", "shelf.", ".books", '"', "shelf.books_pkey", "pg_catalog.pg_authid",
            "shelf." + "books" + "x" * 100, "information_schema.tables",
        )  # fmt: skip
        async with server.ask() as asked:
            for name in names:
                with pytest.raises(NotFound):
                    await table_detail(asked, name)

    async def test_a_partitioned_table_is_whole_and_its_partition_has_the_rest(
        self, server: MonitorServer
    ) -> None:
        whole = await server.put(lambda asked: table_detail(asked, "shelf.visits"))
        part = await server.put(lambda asked: table_detail(asked, "shelf.visits_old"))
        assert (whole.vacuum, whole.bloat) == (None, None)
        assert part.vacuum is not None
        assert {column.name for column in whole.columns} == {"at", "book_id", "place"}
        assert whole.note == ""
        places = {index.name: index.bytes for index in whole.indexes}
        assert places["visits_place"] >= 2 * 8192


class TestGrowth:
    """Between the first sample of the week, the first of the last day, and the last."""

    @staticmethod
    def between(*samples: tuple[timedelta, int]) -> Growth | None:
        points = [SizePoint(NOW - ago, size) for ago, size in samples]
        return growth_between(points[0], points[-2], points[-1], points=len(samples))

    def test_two_samples_give_rates_and_no_forecast(self) -> None:
        growth = self.between((timedelta(hours=2), 10 * MB), (timedelta(0), 14 * MB))
        assert growth is not None
        assert (growth.basis, growth.bytes_per_hour, growth.bytes_per_day) == ("measured", 2 * MB, 48 * MB)
        assert growth.bytes_in_30_days is None
        assert "three samples" in growth.note

    def test_three_samples_over_a_day_give_a_forecast(self) -> None:
        growth = self.between(
            (timedelta(days=4), 10 * MB), (timedelta(hours=24), 10 * MB), (timedelta(0), 34 * MB)
        )
        assert growth is not None
        assert (growth.bytes_per_hour, growth.bytes_per_day) == (1 * MB, 6 * MB)
        assert growth.bytes_in_30_days == (34 + 180) * MB

    def test_a_table_that_shrinks_will_not_be_less_than_empty(self) -> None:
        growth = self.between(
            (timedelta(days=4), 40 * MB), (timedelta(hours=24), 20 * MB), (timedelta(0), 10 * MB)
        )
        assert growth is not None
        assert growth.bytes_per_day < 0
        assert growth.bytes_in_30_days == 0

    def test_one_sample_or_none_that_is_older_is_no_growth(self) -> None:
        point = SizePoint(NOW, MB)
        assert growth_between(point, point, point, points=1) is None
        assert growth_between(point, point, point, points=2) is None

    def test_an_estimate_is_rows_times_their_size(self) -> None:
        turnover = Turnover(3000, 1000, 2000, 20 * MB, NOW - timedelta(hours=4), NOW, is_at_least=True)
        growth = estimated_growth(turnover)
        assert (growth.basis, growth.bytes_per_hour, growth.points) == ("estimate", 5 * MB, 0)
        assert "may be older" in growth.note

    def test_an_empty_table_grows_by_nothing(self) -> None:
        assert estimated_growth(Turnover(0, 0, 0, 0, NOW, NOW, is_at_least=False)).bytes_per_hour == 0


class TestBloat:
    COLUMNS = (Width(0, 4), Width(0, 20))

    def test_a_full_table_has_none_and_one_of_twice_its_pages_is_half_empty(self) -> None:
        # 4 pointer + 24 header + 24 data = 52 bytes: 157 of them on a page.
        full = heap_bloat(self.COLUMNS, rows=15_700, pages=101, block_size=8192)
        half = heap_bloat(self.COLUMNS, rows=15_700, pages=202, block_size=8192)
        assert full is not None
        assert half is not None
        assert full.percent < 2
        assert half.percent == pytest.approx(50, abs=1)

    def test_what_cannot_be_told_is_not_told(self) -> None:
        assert heap_bloat((*self.COLUMNS, None), rows=1000, pages=100, block_size=8192) is None
        assert heap_bloat(self.COLUMNS, rows=-1, pages=100, block_size=8192) is None
        assert heap_bloat(self.COLUMNS, rows=10, pages=2, block_size=8192) is None
        assert btree_bloat((None,), rows=1000, pages=100, block_size=8192) is None

    async def test_the_servers_own_pages_agree(self, server: MonitorServer, database: Database) -> None:
        async with database.engine.begin() as connection:
            for statement in (
                "CREATE TABLE shelf.packed AS SELECT n AS id, md5(n::text) AS text FROM generate_series(1, 20000) n",
                "CREATE INDEX packed_id ON shelf.packed (id)",
                "CREATE TABLE shelf.holes AS SELECT * FROM shelf.packed",
                "CREATE INDEX holes_id ON shelf.holes (id)",
                "DELETE FROM shelf.holes WHERE id % 4 <> 0",
                "ANALYZE shelf.packed, shelf.holes",
            ):
                await connection.exec_driver_sql(statement)
        packed, holes = [
            await server.put(lambda asked, name=name: table_detail(asked, name))  # type: ignore[misc]
            for name in ("shelf.packed", "shelf.holes")
        ]
        found = [bloat.percent for bloat in (packed.bloat, packed.indexes[0].bloat, holes.bloat) if bloat]
        assert found == [pytest.approx(0, abs=10), pytest.approx(0, abs=10), pytest.approx(75, abs=5)]


def test_many_dead_rows_and_old_statistics_are_told() -> None:
    growth = estimated_growth(Turnover(0, 0, 0, 0, NOW, NOW, is_at_least=False))
    table = TableSize(
        schema="s", name="t", kind="table", partitions=0, heap_bytes=MB, toast_bytes=0, index_bytes=0, is_exact=True, estimated_rows=1,
        live_rows=8_000, dead_rows=8_000, inserted=1, updated=4, hot_updated=3, deleted=0, changed_since_analyze=9_000, seq_scans=1,
        seq_rows_read=1, index_scans=3, last_vacuum=None, last_analyze=None, growth=growth,
    )  # fmt: skip
    found = {finding.check: finding.severity for finding in table_findings([table])}
    assert found == {"tables.dead_rows": "critical", "tables.stale_statistics": "info"}
    assert (table.hot_percent, table.index_scan_percent) == (75, 75)


def test_what_a_name_may_mean() -> None:
    assert meanings("a.b.c") == [("a", "b.c"), ("a.b", "c"), (None, "a.b.c")]
    assert meanings('"a""b"') == [(None, 'a"b')]


async def test_a_partitioned_table_without_partitions_is_empty(
    server: MonitorServer, database: Database
) -> None:
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE shelf.hollow (at date) PARTITION BY RANGE (at)")
    hollow = (await shelf_tables(server))["hollow"]
    detail = await server.put(lambda asked: table_detail(asked, "shelf.hollow"))
    assert (hollow.partitions, hollow.total_bytes, hollow.growth.bytes_per_hour) == (0, 0, 0)
    assert detail.note.startswith("No statistics")
