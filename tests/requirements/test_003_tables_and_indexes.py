"""Document 003: which indexes are used, how large tables are, and how they grow."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from app.core.db import AsyncSession, Database, get_db_context, keep_partitions
from app.core.monitor import SAMPLES_TABLE, IndexUsageAnalyzer, TableSizeMonitor

MB = 1_048_576


async def sample(session: AsyncSession, at: datetime, size: int) -> None:
    """As the service stores one every five minutes."""
    await session.execute(
        text(f"INSERT INTO {SAMPLES_TABLE} VALUES ('shop', 'items', :at, :size, 0, 0, 1)"),
        {"at": at, "size": size * MB},
    )


async def test_003_21_unused_indexes_and_the_efficiency_of_all(database: Database, shop: UUID) -> None:
    async with database.session() as session:
        await session.execute(text("CREATE INDEX items_by_name ON shop.items (name)"))
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SELECT name FROM shop.items WHERE id = 1"))
        await session.execute(text("SELECT pg_stat_force_next_flush()"))
        await session.commit()
        analyzer = IndexUsageAnalyzer(session)  # Both ask the server, so both are awaited.
        unused = await analyzer.get_unused_indexes(days=0, least_bytes=0)
        efficiency = await analyzer.get_index_efficiency()
    assert [index.name for index in unused if index.schema == "shop"] == ["items_by_name"]
    scans = {index.name: index.scans for index in efficiency if index.schema == "shop"}
    assert scans["items_by_name"] == 0
    assert scans["items_pkey"] >= 1


async def test_003_22_sizes_of_tables_and_how_they_grow(
    database: Database, shop: UUID, clean_database: None
) -> None:
    async with get_db_context(database) as session:
        now: datetime | None = await session.scalar(text("SELECT now()"))
        assert now is not None
        hours_ago = now - timedelta(hours=4)
        await keep_partitions(session, SAMPLES_TABLE, today=hours_ago.date())
        await sample(session, hours_ago, 10)
        await sample(session, now, 30)
    async with database.session() as session:
        monitor = TableSizeMonitor(session)
        sizes = await monitor.get_table_sizes()
        largest = await monitor.get_largest_tables(limit=10)
        trend = await monitor.get_growth_trend("shop.items")
        young = await monitor.get_growth_trend("shop.emails")
    assert {"items", "users", "campaigns", "emails"} <= {table.name for table in sizes}
    assert len(largest) == 10
    assert largest[0].total_bytes >= largest[9].total_bytes > 0
    assert trend["growth_rate_mb_per_hour"] == 5
    assert (trend["basis"], young["basis"]) == ("measured", "estimate")
