"""Document 002: sessions, the pool, queries, errors, transactions, schema."""

import logging
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx2
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from fastapi import Depends, Request
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import selectinload

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import (
    AsyncSession,
    Database,
    DatabaseError,
    SessionManager,
    cached_db_query,
    cached_query,
    get_db,
    get_db_context,
    invalidate_table_cache,
)
from app.core.errors import EntityNotFoundError
from app.settings import Settings
from tests.gated import bearer
from tests.requirements.conftest import Serve
from tests.requirements.shop import Campaign, Email, Item, User

CONFIG = JobConfig.public()
Db = Annotated[AsyncSession, Depends(get_db)]


def items_router(*, fail: bool = False) -> APIRouter:
    router = APIRouter()

    @router.get("/items", dependencies=[enforce_all_policies("items", CONFIG)])
    @api_worker(CONFIG)
    async def read_items(db: Db, request: Request) -> list[str]:
        items = (await db.scalars(select(Item).order_by(Item.name))).all()
        db.add(Item(name="made by reading"))
        await db.flush()
        assert request.app.state.gatehouse.database.pool_status().checked_out <= 1
        if fail:
            raise ZeroDivisionError
        return [item.name for item in items]

    return router


async def items(database: Database) -> list[str]:
    async with database.session() as db:
        return list(await db.scalars(select(Item.name).order_by(Item.name)))


async def test_002_01_an_endpoint_gets_its_session_by_depends(serve: Serve, shop: UUID) -> None:
    async with serve(items_router()) as service:
        answer = await service.client.get("/items")
    assert (answer.status_code, answer.json()) == (200, ["ink", "pen"])


async def test_002_02_a_task_outside_requests_uses_a_context_manager(
    configured: Database, shop: UUID
) -> None:
    async with get_db_context() as db:
        users = (await db.scalars(select(User))).all()
        assert configured.pool_status().checked_out == 1
        db.add(Item(name="paper"))
    assert len(users) == 2
    assert await items(configured) == ["ink", "paper", "pen"]
    assert configured.pool_status().checked_out == 0


async def test_002_03_a_script_uses_a_session_manager(configured: Database, shop: UUID) -> None:
    async with SessionManager(context="scheduled_task") as db:
        users = (await db.scalars(select(User).where(User.is_active))).all()
        assert db.info["context"] == "scheduled_task"
    assert [user.email for user in users] == ["ann@example.com"]
    assert configured.pool_status().checked_out == 0


@pytest.mark.parametrize(("environment", "size", "overflow"), [("production", 5, 10), ("development", 2, 5)])
async def test_002_04_the_pool_has_the_documents_defaults(
    postgres_url: str, valkey_url: str, environment: str, *, size: int, overflow: int
) -> None:
    from app.main import create_app

    settings = Settings(
        _env_file=None, app_env=environment, database_url=postgres_url, valkey_url=valkey_url,
        secret_key="a-secret-of-these-tests-with-over-32-bytes", encryption_keys="k" * 32,
    )  # fmt: skip
    database: Database = create_app(settings).state.gatehouse.database
    pool: Any = database.engine.pool
    assert (pool.size(), pool._max_overflow) == (size, overflow)
    assert (pool.timeout(), pool._recycle) == (30, 1800)


async def test_002_05_only_the_columns_that_are_needed_are_selected(shop: UUID, database: Database) -> None:
    async with database.session() as db:
        users = (await db.execute(select(User.id, User.email).order_by(User.email))).all()
    assert tuple(users[0]) == (shop, "ann@example.com")
    assert not hasattr(users[0], "is_active")


async def test_002_06_one_query_with_a_join_replaces_one_for_each_row(shop: UUID, database: Database) -> None:
    async with database.session() as db:
        joined = (
            select(Campaign, Email)
            .join(Email, Campaign.id == Email.campaign_id)
            .where(Campaign.user_id == shop)
        )
        results = (await db.execute(joined)).all()
    assert sorted(campaign.name for campaign, _ in results) == ["autumn", "spring", "spring"]


async def test_002_07_relationships_are_loaded_when_asked_for_and_never_by_accident(
    shop: UUID, database: Database
) -> None:
    async with database.session() as db:
        query = select(Campaign).where(Campaign.user_id == shop).order_by(Campaign.name)
        campaigns = (await db.scalars(query.options(selectinload(Campaign.emails)))).all()
        assert [len(campaign.emails) for campaign in campaigns] == [1, 2]
        db.expunge_all()
        (forgotten, _) = (await db.scalars(query)).all()
        with pytest.raises(SQLAlchemyError, match="lazy='raise'"):
            _ = forgotten.emails


async def test_002_08_a_list_is_limited(shop: UUID, database: Database) -> None:
    async with database.session() as db:
        first = (await db.scalars(select(User).order_by(User.email).limit(1).offset(0))).all()
        second = (await db.scalars(select(User).order_by(User.email).limit(1).offset(1))).all()
    assert [user.email for user in (*first, *second)] == ["ann@example.com", "bob@example.com"]


async def test_002_09_raw_sql_takes_bound_parameters(shop: UUID, database: Database) -> None:
    query = text("""
        SELECT date_trunc('day', sent_at) as day, COUNT(*) as count
        FROM shop.emails
        WHERE campaign_id = :campaign_id
        GROUP BY date_trunc('day', sent_at)
        ORDER BY day DESC
    """)
    async with database.session() as db:
        campaign_id = await db.scalar(select(Campaign.id).where(Campaign.name == "spring"))
        result = (await db.execute(query, {"campaign_id": campaign_id})).fetchall()
    assert [row[1] for row in result] == [2]


async def create_campaign_with_emails(
    db: AsyncSession, campaign_data: dict[str, Any], emails_data: list[dict[str, Any]]
) -> Campaign:
    try:
        campaign = Campaign(**campaign_data)
        db.add(campaign)
        await db.flush()  # to get the id, not to commit
        for email_data in emails_data:
            db.add(Email(campaign_id=campaign.id, **email_data))
        await db.commit()
    except Exception:
        await db.rollback()
        logging.getLogger(__name__).exception("Failed to create campaign")
        raise
    return campaign


@cached_query(ttl=300)
async def get_user_statistics(db: AsyncSession, user_id: UUID) -> int:
    asked.append("statistics")
    return len((await db.scalars(select(Campaign.id).where(Campaign.user_id == user_id))).all())


asked: list[str] = []


async def test_002_10_a_decorated_query_is_kept_until_its_tables_change(
    cached: None, shop: UUID, database: Database
) -> None:
    asked.clear()
    for _ in range(4):
        async with get_db_context(database) as db:
            assert await get_user_statistics(db, shop) == 2
    # The first two runs show what it reads.
    assert len(asked) == 2
    async with get_db_context(database) as db:
        db.add(Campaign(user_id=shop, name="winter"))
    async with get_db_context(database) as db:
        assert await get_user_statistics(db, shop) == 3


async def test_002_11_raw_sql_is_kept_and_ended_by_a_commit(
    cached: None, shop: UUID, database: Database
) -> None:
    query = """
        SELECT COUNT(*) AS total, SUM(CASE WHEN subject = 'Hello' THEN 1 ELSE 0 END) AS opened
        FROM shop.emails
        WHERE campaign_id = :campaign_id
    """
    async with get_db_context(database) as db:
        (campaign_id, *_) = await db.scalars(select(Email.campaign_id).order_by(Email.id))
        first = await cached_db_query(db, query, {"campaign_id": campaign_id}, ttl=600)
    async with database.connect() as connection:  # behind the cache's back
        await connection.execute(text("UPDATE shop.emails SET subject = 'Bye'"))
    async with get_db_context(database) as db:
        assert await cached_db_query(db, query, {"campaign_id": campaign_id}, ttl=600) == first
        assert first[0]["opened"] > 0
        await db.execute(text("UPDATE shop.emails SET subject = 'Bye'"))
    async with get_db_context(database) as db:
        (row,) = await cached_db_query(db, query, {"campaign_id": campaign_id}, ttl=600)
    assert (row["total"], row["opened"]) == (first[0]["total"], 0)


async def test_002_12_a_table_is_ended_by_hand(cached: None, shop: UUID, database: Database) -> None:
    # Writes of our sessions end it by themselves; this is for the others.
    sql = "SELECT email FROM shop.users WHERE is_active"
    async with get_db_context(database) as db:
        await cached_db_query(db, sql, ttl=300, tables=["shop.users"])
    async with database.connect() as connection:
        await connection.execute(text("UPDATE shop.users SET email = 'eve@example.com' WHERE is_active"))
    async with get_db_context(database) as db:
        kept = await cached_db_query(db, sql, ttl=300, tables=["shop.users"])
        await invalidate_table_cache("shop.users")
        made = await cached_db_query(db, sql, ttl=300, tables=["shop.users"])
    assert (kept, made) == ([{"email": "ann@example.com"}], [{"email": "eve@example.com"}])


async def test_002_13_a_campaign_is_stored_with_all_its_emails_or_not_at_all(
    serve: Serve, shop: UUID, database: Database
) -> None:
    router = APIRouter()

    @router.post("/campaigns", dependencies=[enforce_all_policies("campaigns", CONFIG)])
    @api_worker(CONFIG)
    async def create(db: Db, subjects: list[str | None]) -> int:
        emails = [{"subject": subject} if subject else {"sent_at": "never"} for subject in subjects]
        campaign = await create_campaign_with_emails(db, {"user_id": shop, "name": "new"}, emails)
        return campaign.id

    async def stored() -> tuple[int, int]:
        async with database.session() as db:
            campaigns = await db.scalar(select(func.count()).select_from(Campaign))
            emails = await db.scalar(select(func.count()).select_from(Email))
            return campaigns or 0, emails or 0

    campaigns, emails = await stored()
    async with serve(router) as service:
        broken = await service.client.post("/campaigns", json=["one", None])
        assert broken.status_code >= 400
        assert await stored() == (campaigns, emails)
        assert (await service.client.post("/campaigns", json=["one", "two"])).status_code == 200
        assert await stored() == (campaigns + 1, emails + 2)


async def get_user(db: AsyncSession, user_id: UUID, table: str = "shop.users") -> str:
    try:
        email = await db.scalar(text(f"SELECT email FROM {table} WHERE id = :id"), {"id": user_id})
        if not email:
            raise EntityNotFoundError(f"User with ID {user_id} not found")
    except SQLAlchemyError as e:
        raise DatabaseError("Error retrieving user") from e
    return str(email)


async def test_002_14_not_found_is_404_and_the_databases_fault_is_503_without_its_text(
    serve: Serve, shop: UUID
) -> None:
    router = APIRouter()

    @router.get("/users/{user_id}", dependencies=[enforce_all_policies("users", CONFIG)])
    @api_worker(CONFIG)
    async def read(db: Db, user_id: UUID, table: str = "shop.users") -> str:
        return await get_user(db, user_id, table)

    stranger = uuid4()
    async with serve(router) as service:
        found = await service.client.get(f"/users/{shop}")
        missing = await service.client.get(f"/users/{stranger}")
        broken = await service.client.get(f"/users/{shop}?table=no_such_table")
    assert found.json() == "ann@example.com"
    assert (missing.status_code, missing.json()["detail"]) == (404, f"User with ID {stranger} not found")
    assert (broken.status_code, broken.json()["detail"]) == (503, "Error retrieving user")
    assert "no_such_table" not in broken.text


async def on_connection(database: Database, work: Any) -> Any:
    async with database.engine.begin() as connection:
        return await connection.run_sync(work)


async def test_002_15_a_migration_creates_the_documents_index(shop: UUID, database: Database) -> None:
    def upgrade(connection: Any) -> None:
        op = Operations(MigrationContext.configure(connection))
        op.create_index(
            "idx_emails_campaign_id_created_at",
            "emails",
            ["campaign_id", "created_at"],
            unique=False,
            schema="shop",
        )

    await on_connection(database, upgrade)
    async with database.session() as db:
        definition = await db.scalar(
            text("SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_emails_campaign_id_created_at'")
        )
    assert str(definition).startswith("CREATE INDEX")
    assert str(definition).endswith("(campaign_id, created_at)")


PARTITIONED = """
CREATE TABLE shop.emails_by_year (
    id UUID {inline},
    campaign_id UUID NOT NULL,
    created_at TIMESTAMP NOT NULL
    {key}
) PARTITION BY RANGE (created_at)
"""
PARTITIONS = (
    "CREATE TABLE shop.emails_y2022 PARTITION OF shop.emails_by_year FOR VALUES FROM ('2022-01-01') TO ('2023-01-01')",
    "CREATE TABLE shop.emails_y2023 PARTITION OF shop.emails_by_year FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')",
)


async def test_002_16_a_table_is_partitioned_by_time_once_the_key_names_the_time(
    shop: UUID, database: Database
) -> None:
    async def run(connection: AsyncConnection, *statements: str) -> None:
        for statement in statements:
            await connection.execute(text(statement))

    async with database.connect() as connection:
        with pytest.raises(DBAPIError, match="must include all partitioning columns"):
            await run(connection, PARTITIONED.format(inline="PRIMARY KEY", key=""))  # as the document has it
        await run(
            connection,
            PARTITIONED.format(inline="NOT NULL", key=", PRIMARY KEY (id, created_at)"),
            *PARTITIONS,
        )
        insert = "INSERT INTO shop.emails_by_year SELECT gen_random_uuid(), gen_random_uuid(), '{}'"
        await run(connection, insert.format("2022-05-01"), insert.format("2023-05-01"))
        for year in (2022, 2023):
            assert await connection.scalar(text(f"SELECT count(*) FROM shop.emails_y{year}")) == 1
        plan = (
            await connection.scalars(
                text("EXPLAIN SELECT * FROM shop.emails_by_year WHERE created_at < '2022-06-01'")
            )
        ).all()
    assert any("emails_y2022" in line for line in plan)
    assert not any("emails_y2023" in line for line in plan)


async def test_002_line_31_the_session_is_closed_after_the_request(serve: Serve, shop: UUID) -> None:
    async with serve(items_router()) as service:
        await service.client.get("/items")
        assert service.platform.database.pool_status().checked_out == 0


async def test_002_line_32_the_session_is_rolled_back_when_the_handler_fails(
    serve: Serve, shop: UUID, database: Database
) -> None:
    async with serve(items_router(fail=True)) as service:
        assert (await service.client.get("/items")).status_code == 500
        assert await items(database) == ["ink", "pen"]
        assert service.platform.database.pool_status().checked_out == 0


async def test_002_line_33_a_test_puts_its_own_session_in_place_of_get_db(
    serve: Serve, shop: UUID, db_session: AsyncSession, database: Database
) -> None:
    db_session.add(Item(name="only in this test"))
    await db_session.flush()
    async with serve(items_router()) as service:
        service.app.dependency_overrides[get_db] = lambda: db_session
        assert (await service.client.get("/items")).json() == ["ink", "only in this test", "pen"]
    assert await items(database) == ["ink", "pen"]


async def test_002_line_79_long_work_waits_longer_for_a_connection_on_a_pool_of_its_own(
    configured: Database, postgres_url: str
) -> None:
    patient = Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=300)
    async with SessionManager(context="nightly", database=patient) as db:
        assert await db.scalar(select(1)) == 1
        assert patient.pool_status().checked_out == 1
    pool: Any = patient.engine.pool
    assert pool.timeout() == 300
    await patient.close()


async def test_002_line_257_health_tells_those_who_may_know_about_the_pool(serve: Serve) -> None:
    from app.builtin.health.router import router
    from app.builtin.health.service import provide_health

    open_routes = dict.fromkeys(("/live", "/ready", "/health"), "probe")
    async with serve(router, provides=provide_health, open_routes=open_routes) as service:
        anybody: httpx2.Response = await service.client.get("/health/db")
        operator = await service.client.get("/health/db", headers=bearer(uuid4(), scopes=["read:monitor"]))
    assert (anybody.status_code, anybody.json()) == (200, {"status": "ok"})
    assert operator.json()["pool"]["checked_out"] >= 0
    assert operator.json()["latency_ms"] > 0
