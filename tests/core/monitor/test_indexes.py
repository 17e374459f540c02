"""The four questions about indexes, on one schema."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest
from sqlalchemy import text

from app.core.db import Database
from app.core.monitor import (
    IndexUsageAnalyzer,
    InvalidIndex,
    MonitorServer,
    RedundantIndex,
    UnindexedKey,
    UnusedIndex,
    index_report,
    invalid_indexes,
    redundant_indexes,
    unindexed_keys,
    unused_indexes,
)
from app.core.monitor._index_ddl import create_index, index_name
from app.core.monitor._index_duplicates import redundant_findings
from app.core.monitor._index_foreign_keys import key_findings
from app.core.monitor._index_invalid import invalid_findings
from app.core.monitor._index_usage import _doubt, unused_findings
from app.core.monitor._standing import Standing

ALONE = Standing(
    version=180_000,
    block_size=8192,
    is_standby=False,
    at=datetime(2026, 1, 31, 12, tzinfo=UTC),
    stats_reset=None,
    started_at=datetime(2020, 1, 1, tzinfo=UTC),
    standbys=0,
)


@pytest.fixture(scope="module")
async def server(shelf_made: None, database: Database) -> AsyncIterator[MonitorServer]:
    """One for all tests here: to connect takes longer than to ask."""
    watched = MonitorServer(database)
    yield watched
    await watched.close()


async def unused(server: MonitorServer, *, days: float = 0.0) -> dict[str, UnusedIndex]:
    async with server.ask() as asked:
        found = await unused_indexes(asked, days=days, least_bytes=0)
    return {index.name: index for index in found if index.schema == "shelf"}


class TestUnused:
    async def test_what_nobody_scans_may_go_and_what_serves_otherwise_stays(
        self, server: MonitorServer
    ) -> None:
        found = await unused(server)
        verdicts = {name: index.verdict for name, index in found.items()}
        assert verdicts["books_title"] == "unused"
        assert verdicts["visits_place"] == "unused"
        assert verdicts["books_lower"] == "kept"
        assert "statistics of its expression" in found["books_lower"].reason
        # The only index of a foreign key stays; one that holds a rule is not even looked at.
        assert verdicts["books_translator"] == "kept"
        assert not {"books_pkey", "books_id_once_more", "authors_email_key", "books_isbn_once"} & set(
            verdicts
        )
        # The partitions' parts go with the whole.
        assert "visits_old_place_idx" not in verdicts
        assert found["books_title"].ddl == ('DROP INDEX CONCURRENTLY "shelf"."books_title";',)
        assert "postgresql_concurrently=True" in str(found["books_title"].alembic)
        assert found["visits_place"].ddl == ('DROP INDEX "shelf"."visits_place";',)
        assert found["books_lower"].ddl == ()

    async def test_no_verdict_on_statistics_that_are_young(self, server: MonitorServer) -> None:
        found = await unused(server, days=35)
        assert {found[name].verdict for name in ("books_title", "visits_place")} == {"cannot_judge"}
        assert "35 days are needed" in found["books_title"].reason
        assert found["books_title"].ddl == ()
        assert unused_findings(tuple(found.values())) == []

    @pytest.mark.parametrize(
        ("server", "word"),
        [
            (replace(ALONE, is_standby=True), "this is a standby"),
            (replace(ALONE, standbys=2), "2 standby"),
        ],
    )
    def test_no_verdict_where_others_read_too(self, server: Standing, word: str) -> None:
        assert word in str(_doubt(server, 35))
        assert _doubt(ALONE, 35) is None

    async def test_small_ones_are_left_alone(self, server: MonitorServer) -> None:
        async with server.ask() as asked:
            found = await unused_indexes(asked, days=0)
        assert [index.name for index in found if index.schema == "shelf"] == []

    async def test_a_scan_is_seen_with_its_time(self, server: MonitorServer, database: Database) -> None:
        async with database.engine.begin() as connection:
            for node in ("seqscan", "sort"):
                await connection.exec_driver_sql(f"SET LOCAL enable_{node} = off")
            await connection.exec_driver_sql(
                "SELECT title FROM shelf.books WHERE isbn = 'isbn' ORDER BY title LIMIT 1"
            )
            await connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        scanned = set(await unused(server, days=1)) ^ set(await unused(server, days=0))
        assert scanned == {"books_isbn_title"}  # scanned within a day, but not after this moment

    async def test_the_documents_class_asks_over_a_session(
        self, shelf_made: None, database: Database
    ) -> None:
        async with database.session() as session:
            await session.execute(text("SET LOCAL enable_seqscan = off"))
            await session.execute(text("SELECT name FROM shelf.authors WHERE id = 7"))
            await session.execute(text("SELECT pg_stat_force_next_flush()"))
            await session.commit()
            analyzer = IndexUsageAnalyzer(session)
            found = await analyzer.get_unused_indexes(days=0, least_bytes=0)
            efficiency = await analyzer.get_index_efficiency()
        assert "books_title" in {index.name for index in found}
        key = {index.name: index for index in efficiency if index.schema == "shelf"}["authors_pkey"]
        assert key.scans > 0
        assert key.scan_percent is not None
        assert key.entries_per_scan == 1


class TestRedundant:
    @pytest.fixture
    async def found(self, server: MonitorServer) -> dict[str, RedundantIndex]:
        found = await server.put(redundant_indexes)
        return {index.name: index for index in found if index.schema == "shelf"}

    async def test_the_same_again_and_the_beginning_of_another(
        self, found: dict[str, RedundantIndex]
    ) -> None:
        assert {(it.name, it.kind, it.covered_by) for it in found.values()} == {
            ("books_title_again", "duplicate", "books_title"),
            ("books_lower_again", "duplicate", "books_lower"),
            ("books_isbn", "duplicate", "books_isbn_carrying"),
            ("books_id_once_more", "duplicate", "books_pkey"),
            ("authors_email_again", "duplicate", "authors_email_key"),
            ("visits_place", "prefix", "visits_place_at"),
        }

    async def test_what_holds_a_rule_is_told_but_never_dropped(
        self, found: dict[str, RedundantIndex]
    ) -> None:
        assert found["authors_email_again"].ddl == found["books_id_once_more"].ddl == ()
        assert found["books_title_again"].ddl == ('DROP INDEX CONCURRENTLY "shelf"."books_title_again";',)
        by_name = {it.subject: it for it in redundant_findings(tuple(found.values()))}
        assert by_name["shelf.books_title_again"].severity == "warning"
        assert by_name["shelf.authors_email_again"].severity == "info"

    async def test_a_partitioned_one_is_the_sum_of_its_parts(self, found: dict[str, RedundantIndex]) -> None:
        assert found["visits_place"].bytes >= 2 * 8192
        assert found["visits_place"].ddl == ('DROP INDEX "shelf"."visits_place";',)


async def test_the_report_does_not_drop_an_index_and_the_one_that_stands_in_for_it(
    server: MonitorServer,
) -> None:
    async with server.ask() as asked:
        found = await index_report(asked, days=0, least_bytes=0)
    dropped = {(it.schema, it.name) for it in found.unused if it.ddl}
    dropped |= {(it.schema, it.name) for it in found.redundant if it.ddl}
    needed = {(it.schema, it.covered_by) for it in found.redundant if it.ddl}
    assert ("shelf", "books_title_again") in dropped
    assert needed
    assert not needed & dropped - {(it.schema, it.name) for it in found.redundant}
    kept = {index.name: index.reason for index in found.unused if index.verdict == "kept"}
    assert "stands in for books_title_again" in kept["books_title"]
    severities = [finding.severity for finding in found.findings]
    assert severities == sorted(severities, key=["critical", "warning", "info"].index)


class TestInvalid:
    async def test_what_a_failed_build_left_is_found(self, server: MonitorServer) -> None:
        found = [index for index in await server.put(invalid_indexes) if index.schema == "shelf"]
        assert [(index.name, index.table, index.is_unique) for index in found] == [
            ("books_isbn_once", "books", True)
        ]
        (finding,) = invalid_findings(tuple(found))
        assert finding.ddl == ('REINDEX INDEX CONCURRENTLY "shelf"."books_isbn_once";',)
        assert "twice" in finding.fix

    async def test_what_an_interrupted_rebuild_left_is_dropped_and_what_is_built_now_is_let_be(
        self, server: MonitorServer, postgres_url: str
    ) -> None:
        owner = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
        try:
            await owner.execute("ALTER INDEX shelf.books_isbn_once RENAME TO books_isbn_ccnew1")
            (left,) = [index for index in await server.put(invalid_indexes) if index.schema == "shelf"]
        finally:
            await owner.execute("ALTER INDEX shelf.books_isbn_ccnew1 RENAME TO books_isbn_once")
            await owner.close()
        assert left.ddl == ('DROP INDEX CONCURRENTLY "shelf"."books_isbn_ccnew1";',)
        assert isinstance(left, InvalidIndex)


class TestForeignKeys:
    async def test_keys_that_no_index_begins_with(self, server: MonitorServer) -> None:
        found = {key.constraint: key for key in await server.put(unindexed_keys) if key.schema == "shelf"}
        # An index that only leaves out NULL serves editor_id; translator_id has an ordinary one.
        assert set(found) == {"books_author_id_fkey", "visits_book_id_fkey"}
        key = found["books_author_id_fkey"]
        assert (key.columns, key.references) == (("author_id",), "shelf.authors")
        assert key.rows >= 2000
        assert key.ddl == (
            'CREATE INDEX CONCURRENTLY "ix_books_author_id" ON "shelf"."books" ("author_id");',
        )
        assert key.alembic.endswith(
            "op.create_index('ix_books_author_id', 'books', ['author_id'], schema='shelf', postgresql_concurrently=True)"
        )
        (finding,) = key_findings(tuple(found.values()))
        assert finding.subject == "shelf.books"
        assert "3000 rows" in finding.evidence or "2000 rows" in finding.evidence

    async def test_a_partitioned_table_gets_its_index_part_by_part_and_it_works(
        self, server: MonitorServer, postgres_url: str
    ) -> None:
        def of(keys: tuple[UnindexedKey, ...]) -> list[UnindexedKey]:
            return [key for key in keys if key.table == "visits"]

        (key,) = of(await server.put(unindexed_keys))
        owner = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
        try:
            for statement in key.ddl:
                await owner.execute(statement)
            assert of(await server.put(unindexed_keys)) == []
            assert not [index for index in await server.put(invalid_indexes) if index.table == "visits"]
        finally:
            await owner.execute("DROP INDEX shelf.ix_visits_book_id")
            await owner.close()
        assert len(key.ddl) == 5
        assert key.alembic.count("op.execute(") == 5


def test_names_of_indexes_fit_and_are_not_taken() -> None:
    long = index_name("t" * 60, ["ä" * 20])
    assert len(long.encode()) == 63
    assert index_name("t", ["a", "b"], {"ix_t_a_b"}) == "ix_t_a_b_2"
    assert create_index("s", 't"; DROP', "i", ["c"]) == (
        'CREATE INDEX CONCURRENTLY "i" ON "s"."t""; DROP" ("c");',
    )
    assert len(create_index("s", "t", "i", ["c"], [("s", f"p{n}") for n in range(51)])) == 1
