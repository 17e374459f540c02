import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database, DatabaseFault, QueryAnalyzer, TableStats, get_table_stats
from app.core.errors import ConfigurationError, NotFound
from app.features.records.models import Record

EMPTY = TableStats("s", "t", None, 0, 0, 0, 0, 0, 0, 0, None, None, None, None)


def table(name: str, schema: str | None = None) -> Table:
    return Table(name, MetaData(schema=schema), Column("id", Integer))


async def test_a_model_has_its_tables_numbers(db_session: AsyncSession) -> None:
    stats = await QueryAnalyzer.get_table_stats(db_session, Record)
    assert (stats.schema, stats.name) == ("public", "records")
    assert stats.table_bytes is not None
    assert stats.index_bytes is not None
    assert stats.index_bytes >= 8192
    assert stats.total_bytes == stats.table_bytes + stats.index_bytes


async def test_rows_are_estimated_after_an_analyze_and_unknown_before(db_session: AsyncSession) -> None:
    await db_session.execute(
        text('CREATE TABLE "Odd ""name" AS SELECT i AS id FROM generate_series(1, 500) i')
    )
    before = await get_table_stats(db_session, table('Odd "name'))
    await db_session.execute(text('ANALYZE "Odd ""name"'))
    after = await get_table_stats(db_session, table('Odd "name'))
    assert (before.estimated_rows, after.estimated_rows) == (None, 500)
    assert after.table_bytes is not None
    assert after.table_bytes > 8192


async def test_a_partitioned_table_is_the_sum_of_its_partitions(db_session: AsyncSession) -> None:
    for statement in (
        "CREATE TABLE parts (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (1000)",
        "INSERT INTO parts SELECT generate_series(1, 499)",
        "ANALYZE parts",
    ):
        await db_session.execute(text(statement))
    whole = await get_table_stats(db_session, table("parts"))
    first = await get_table_stats(db_session, table("parts_1"))
    second = await get_table_stats(db_session, table("parts_2"))
    assert (whole.estimated_rows, first.estimated_rows, second.estimated_rows) == (499, 99, 400)
    assert first.table_bytes is not None
    assert second.table_bytes is not None
    assert whole.table_bytes == first.table_bytes + second.table_bytes


async def test_the_sessions_schema_is_followed(database: Database) -> None:
    options = {"schema_translate_map": {None: "tenant_a"}}
    async with database.session(execution_options=options) as session:
        await session.execute(text("CREATE SCHEMA tenant_a"))
        await session.execute(text("CREATE TABLE tenant_a.records AS SELECT 1 AS id"))
        assert (await get_table_stats(session, Record)).schema == "tenant_a"
        assert (await get_table_stats(session, table("records", "public"))).schema == "public"
        plan = await QueryAnalyzer.analyze_query_plan(session, select(Record.id))
        assert plan.nodes[0].relation == "tenant_a.records"


async def test_a_locked_table_still_has_its_counts(database: Database) -> None:
    async with database.session() as locking, database.session() as session:
        await locking.execute(text("LOCK TABLE records IN ACCESS EXCLUSIVE MODE"))
        async with asyncio.timeout(5):
            stats = await get_table_stats(session, Record)
        assert (stats.table_bytes, stats.index_bytes, stats.total_bytes) == (None, None, None)
        assert stats.name == "records"
        await locking.rollback()
        assert (await get_table_stats(session, Record)).total_bytes is not None
        await session.commit()  # Whole: what the lock refused was undone.


async def test_a_missing_table_is_not_found(db_session: AsyncSession) -> None:
    with pytest.raises(NotFound, match="There is no table nowhere"):
        await get_table_stats(db_session, table("nowhere"))


async def test_what_the_server_refuses_is_our_error(database: Database) -> None:
    async with database.session() as session:
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT * FROM nowhere"))
        with pytest.raises(DatabaseFault) as refused:  # the transaction takes no statement any more
            await get_table_stats(session, Record)
    assert refused.value.sqlstate == "25P02"


@pytest.mark.parametrize("model", [int, "records", None])
async def test_what_is_not_mapped_is_refused(db_session: AsyncSession, model: object) -> None:
    with pytest.raises(ConfigurationError, match="mapped class"):
        await get_table_stats(db_session, model)  # type: ignore[arg-type]


@pytest.mark.parametrize(("live", "dead", "percent"), [(0, 0, 0.0), (3, 1, 25.0), (0, 2, 100.0)])
def test_share_of_dead_rows(live: int, dead: int, percent: float) -> None:
    assert replace(EMPTY, live_rows=live, dead_rows=dead).dead_percent == percent
