"""Document 003: what statements do, and how long functions take."""

from contextlib import AsyncExitStack
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select, text
from sqlalchemy.orm import selectinload
from structlog.testing import capture_logs

from app.core.db import (
    AsyncBaseRepository,
    AsyncSession,
    Database,
    NPlusOneDetected,
    PaginationParams,
    QueryAnalyzer,
    QueryDecorator,
    configure,
    forbid_n_plus_one,
    with_pool_metrics,
)
from tests.requirements.shop import Campaign, Email, Item


async def emails_of(session: AsyncSession, campaign: Campaign) -> int:
    """One query per campaign."""
    return len((await session.scalars(select(Email).where(Email.campaign_id == campaign.id))).all())


async def test_003_14_statements_are_logged_repetitions_found_plans_and_tables_told(
    database: Database, shop: UUID
) -> None:
    # What asks the server is awaited; what does not, is not.
    logging = QueryAnalyzer.enable_query_logging(database.engine, verbose=True)
    async with database.session() as session:
        with capture_logs() as logs:
            campaigns = (await session.scalars(select(Campaign))).all()
            counts = [await emails_of(session, campaign) for campaign in campaigns]
        assert [entry["event"] for entry in logs] == ["query.executed"] * 3
        assert "FROM shop.campaigns" in logs[0]["statement"]

        (issue,) = QueryAnalyzer.detect_n_plus_one(session)
        assert (issue.times, sorted(counts)) == (2, [1, 2])
        assert "FROM shop.emails" in issue.shape
        assert " in emails_of" in issue.lines[0]

        plan = await QueryAnalyzer.analyze_query_plan(session, select(Email).where(Email.id == 1))
        assert plan.nodes[0].relation == "shop.emails"
        assert plan.total_cost > 0

        await session.execute(text("ANALYZE shop.emails"))
        stats = await QueryAnalyzer.get_table_stats(session, Email)
        assert (stats.schema, stats.name, stats.estimated_rows) == ("shop", "emails", 3)
    logging.disable()


async def test_003_15_a_function_is_timed_and_its_result_kept(
    database: Database, cached: None, shop: UUID
) -> None:
    asked = 0

    @QueryDecorator.track_performance(threshold_ms=0)
    def expensive_operation() -> int:
        return 7

    # The document's function finds its session outside; so does this one.
    @QueryDecorator.cache_result(ttl_seconds=300)
    async def get_all_campaigns() -> list[Campaign]:
        nonlocal asked
        asked += 1
        async with database.session() as session:
            return list(await session.scalars(select(Campaign).order_by(Campaign.name)))

    with capture_logs() as logs:
        assert expensive_operation() == 7
    assert [entry["event"] for entry in logs] == ["function.slow"]
    names = [[campaign.name for campaign in await get_all_campaigns()] for _ in range(4)]
    assert names == [["autumn", "spring"]] * 4
    assert asked == 2  # the first run shows what it reads


async def test_003_line_31_eager_loading_prevents_n_plus_one(database: Database, shop: UUID) -> None:
    async with database.session() as session:
        with forbid_n_plus_one() as queries:
            loaded = (await session.scalars(select(Campaign).options(selectinload(Campaign.emails)))).all()
            assert sorted(len(campaign.emails) for campaign in loaded) == [1, 2]
        assert queries.statements == 2


async def test_003_line_601_query_logging_catches_n_plus_one_early(database: Database, shop: UUID) -> None:
    async def one_by_one(session: AsyncSession) -> None:
        campaigns = (await session.scalars(select(Campaign))).all()
        with forbid_n_plus_one():
            for campaign in campaigns:
                await emails_of(session, campaign)

    async with database.session() as session:
        with pytest.raises(NPlusOneDetected, match=r"2 times.*FROM shop\.emails"):
            await one_by_one(session)


async def test_003_line_602_a_page_knows_whether_others_follow(database: Database, shop: UUID) -> None:
    async with database.session() as session:
        repo = AsyncBaseRepository(Email, session)
        pages = [await repo.get_paginated(PaginationParams(skip, 2), order_by="id") for skip in (0, 2)]
    assert [(len(page.data), page.has_next, page.has_previous) for page in pages] == [
        (2, True, False),
        (1, False, True),
    ]


async def test_003_line_609_a_pool_is_told_from_four_fifths_on(postgres_url: str) -> None:
    pool = Database(postgres_url, pool_size=5, max_overflow=0, application_name="the pool of line 609")

    @with_pool_metrics
    async def work() -> None: ...

    percents: list[float] = []
    configure(pool)
    try:
        async with AsyncExitStack() as held:
            for _ in range(5):
                with capture_logs() as logs:
                    await work()
                percents += [entry["percent"] for entry in logs if entry["event"] == "pool.nearly_full"]
                await held.enter_async_context(pool.connect())
            await work()
    finally:
        configure(None)
        await pool.close()
    assert percents == [80]
    labels = {"pool": "the pool of line 609"}
    assert REGISTRY.get_sample_value("gatehouse_pool_utilization_percent", labels) == 100


async def test_003_line_639_a_plan_says_where_an_index_is_missing(database: Database, shop: UUID) -> None:
    async with database.session() as session:
        await session.execute(
            text(
                "INSERT INTO shop.items (id, name) SELECT n, 'item ' || n FROM generate_series(100, 20000) n"
            )
        )
        await session.execute(text("ANALYZE shop.items"))
        by_name = await QueryAnalyzer.analyze_query_plan(session, select(Item).where(Item.name == "item 7"))
        by_key = await QueryAnalyzer.analyze_query_plan(session, select(Item).where(Item.id == 107))
        await session.rollback()
    assert any("shop.items" in finding for finding in by_name.findings)
    assert not by_key.findings
