"""Document 002: what it promises in prose about the pool, the cache, transactions and the schema."""

from uuid import UUID

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import QueuePool

from app.core.db import (
    ConstraintViolated,
    Database,
    EventLog,
    MigrationUtils,
    PoolExhausted,
    cached_query,
    get_db_context,
    is_partition,
    translate_errors,
)
from tests.requirements.shop import Campaign, Email, Item

PID = text("SELECT pg_backend_pid()")
FOREIGN_KEYS_WITHOUT_INDEX = text(
    """
    SELECT conname FROM pg_constraint
    JOIN pg_namespace n ON n.oid = connamespace
    WHERE contype = 'f' AND n.nspname = :schema AND NOT EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = conrelid AND (indkey::int2[])[0:cardinality(conkey) - 1] @> conkey
    )
    """
)


async def test_002_line_64_connections_are_kept_in_a_queue_pool(database: Database) -> None:
    assert issubclass(type(database.engine.pool), QueuePool)
    assert len({await pid(database) for _ in range(5)}) == 1


async def pid(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(PID) or 0)


async def test_002_line_78_overflow_takes_a_spike_and_no_more(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1, max_overflow=2, pool_timeout_s=0.01)
    sessions = [database.session() for _ in range(4)]
    try:
        assert len({await session.scalar(PID) for session in sessions[:3]}) == 3
        assert database.pool_status().overflow == 2
        with pytest.raises(PoolExhausted), translate_errors():
            await sessions[3].scalar(PID)
    finally:
        for session in sessions:
            await session.close()
    assert database.pool_status().open == 1
    await database.close()


async def test_002_line_80_a_connection_that_is_too_old_is_replaced(postgres_url: str) -> None:
    pids = {}
    for recycle_s in (0, 1800):
        database = Database(postgres_url, pool_size=1, max_overflow=0, pool_recycle_s=recycle_s)
        pids[recycle_s] = {await pid(database) for _ in range(3)}
        await database.close()
    assert {age: len(found) for age, found in pids.items()} == {0: 3, 1800: 1}


@cached_query(ttl=300, tables=["shop.items"])
async def item_names(db: AsyncSession) -> list[str]:
    return sorted(await db.scalars(select(Item.name)))


async def test_002_line_190_insert_update_and_delete_end_what_was_kept(
    cached: None, shop: UUID, database: Database
) -> None:
    async def kept() -> list[str]:
        async with get_db_context(database) as db:
            return await item_names(db)

    assert await kept() == ["ink", "pen"]
    changes = (
        (insert(Item).values(name="paper"), ["ink", "paper", "pen"]),
        (update(Item).where(Item.name == "pen").values(name="quill"), ["ink", "paper", "quill"]),
        (delete(Item).where(Item.name == "ink"), ["paper", "quill"]),
    )
    for change, expected in changes:
        async with get_db_context(database) as db:
            await db.execute(change)
        assert await kept() == expected


async def test_002_line_196_a_transaction_is_whole_or_nothing_and_unseen_until_it_ends(
    shop: UUID, database: Database
) -> None:
    async def seen() -> int:
        async with database.session() as other:
            return len((await other.scalars(select(Campaign).where(Campaign.user_id == shop))).all())

    async def add(name: str, *, fail: bool) -> None:
        async with get_db_context(database) as db:
            db.add(Campaign(user_id=shop, name=name))
            await db.flush()
            assert await seen() == 2
            if fail:
                db.add(Email(campaign_id=-1))

    with pytest.raises(ConstraintViolated):
        await add("summer", fail=True)
    assert await seen() == 2
    await add("winter", fail=False)
    assert await seen() == 3


async def test_002_line_265_primary_keys_are_indexed(shop: UUID, database: Database) -> None:
    async with database.session() as db:
        unindexed = await db.scalars(
            text("SELECT tablename FROM pg_tables t WHERE schemaname IN ('public', 'shop') AND NOT EXISTS"
                 " (SELECT FROM pg_indexes i WHERE i.schemaname = t.schemaname AND i.tablename = t.tablename)")
        )  # fmt: skip
        assert list(unindexed) == []


async def test_002_line_266_foreign_keys_of_our_tables_are_indexed(shop: UUID, database: Database) -> None:
    async with database.session() as db:
        assert list(await db.scalars(FOREIGN_KEYS_WITHOUT_INDEX, {"schema": "public"})) == []
        # The documents' own tables are as the documents write them.
        found = await db.scalars(FOREIGN_KEYS_WITHOUT_INDEX, {"schema": "shop"})
        assert sorted(found) == ["campaigns_user_id_fkey", "emails_campaign_id_fkey"]


async def test_002_line_269_the_order_of_a_large_list_comes_from_an_index(database: Database) -> None:
    query = (
        f"SELECT * FROM records WHERE owner_id = '{UUID(int=7)}' ORDER BY created_at DESC, id DESC LIMIT 20"
    )
    async with database.session() as db:
        await db.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(await db.scalars(text(f"EXPLAIN {query}")))
    assert "ix_records_owner_id_created_at_id" in plan
    assert "Sort" not in plan


def test_002_line_271_migrations_create_indexes_by_operation() -> None:
    sources = [migration.path.read_text() for migration in MigrationUtils().list_migrations()]
    assert sum("op.create_index(" in source for source in sources) >= 3


async def test_002_line_289_a_growing_table_of_ours_is_partitioned_by_time(db_session: AsyncSession) -> None:
    kind = await db_session.scalar(text("SELECT relkind FROM pg_class WHERE oid = 'events_log'::regclass"))
    assert kind in ("p", b"p")
    db_session.add(EventLog(kind="requirement", subject="line 289"))
    await db_session.flush()
    place = text("SELECT tableoid::regclass::text FROM events_log WHERE kind = 'requirement'")
    assert is_partition(await db_session.scalar(place))
