"""Document 003: what statements do, and how long functions take."""

from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import selectinload
from structlog.testing import capture_logs

from app.core.db import (
    AsyncSession,
    Database,
    NPlusOneDetected,
    QueryAnalyzer,
    QueryDecorator,
    forbid_n_plus_one,
)
from tests.requirements.shop import Campaign, Email


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
