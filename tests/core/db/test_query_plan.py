import asyncio

import pytest
from sqlalchemy import delete, func, select, text, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import AsyncSession as Session
from app.core.db import Database, DatabaseTimeout, QueryAnalyzer, QueryNotExplainable, analyze_query_plan
from app.features.records.models import Record


async def big(session: Session) -> None:
    await session.execute(text("CREATE TABLE planned (id int PRIMARY KEY, kind int, secret text)"))
    await session.execute(
        text("INSERT INTO planned SELECT i, i % 1000, 'row ' || i FROM generate_series(1, 20000) i")
    )
    await session.execute(text("ANALYZE planned"))


async def a_record(session: Session) -> None:
    """To read a table that was vacuumed while it was empty costs nothing."""
    await session.execute(
        text(
            "WITH owner AS (INSERT INTO users (id, email, email_key, password_hash)"
            " VALUES (gen_random_uuid(), 'plan@example.com', 'plan@example.com', '') RETURNING id)"
            " INSERT INTO records (id, owner_id, name, version) SELECT gen_random_uuid(), id, 'a', 1 FROM owner"
        )
    )


async def test_a_select_is_planned_for_its_values(db_session: AsyncSession) -> None:
    await a_record(db_session)
    plan = await QueryAnalyzer.analyze_query_plan(
        db_session, select(Record).where(Record.name.in_(["a", "b"])).limit(3)
    )
    assert plan.nodes[0].kind == "Limit"
    assert {node.relation for node in plan.nodes if node.relation} == {"public.records"}
    assert plan.total_cost == plan.nodes[0].cost > 0
    assert plan.is_generic is False
    assert [node.depth for node in plan.nodes][:2] == [0, 1]


@pytest.mark.parametrize(
    "query",
    [
        text("SELECT id FROM records WHERE version = :version"),
        "SELECT id FROM records WHERE version = $1",
        "SELECT id FROM records WHERE version = 7",
        "WITH r AS (SELECT * FROM records) SELECT count(*) FROM r",
        "VALUES (1), (2)",
    ],
)
async def test_text_is_planned_without_values(db_session: AsyncSession, query: str) -> None:
    plan = await analyze_query_plan(db_session, query)
    assert plan.is_generic
    assert plan.nodes


async def test_a_union_is_a_read(db_session: AsyncSession) -> None:
    plan = await analyze_query_plan(db_session, union_all(select(Record.id), select(Record.owner_id)))
    assert plan.nodes[0].kind == "Append"


async def test_it_says_where_many_rows_are_read_to_keep_few(db_session: AsyncSession) -> None:
    await big(db_session)
    (finding,) = (await analyze_query_plan(db_session, "SELECT * FROM planned WHERE kind = 7")).findings
    assert finding.startswith("public.planned: reads about 20000 rows to keep")
    by_key = await analyze_query_plan(db_session, "SELECT * FROM planned WHERE id = 7")
    assert by_key.findings == ()
    assert by_key.nodes[0].index == "planned_pkey"


async def test_values_are_in_the_document_only(db_session: AsyncSession) -> None:
    plan = await analyze_query_plan(db_session, "SELECT id FROM records WHERE name = 'hunter2'")
    assert "hunter2" in str(plan.document)
    assert "hunter2" not in repr(plan)


async def test_a_table_without_statistics_is_told(db_session: AsyncSession) -> None:
    await db_session.execute(text("CREATE TABLE fresh (id int)"))
    plan = await analyze_query_plan(db_session, "SELECT * FROM fresh")
    assert plan.findings == ("public.fresh: was never analysed, so these are guesses; run ANALYZE first",)


async def test_an_analysed_table_that_is_empty_has_statistics(db_session: AsyncSession) -> None:
    await db_session.execute(text("CREATE TABLE empty (id int)"))
    await db_session.execute(text("ANALYZE empty"))
    assert (await analyze_query_plan(db_session, "SELECT * FROM empty WHERE id = 1")).findings == ()


WRITES = (
    "INSERT INTO planned VALUES (1)",
    "UPDATE planned SET kind = 0",
    "DELETE FROM planned",
    "WITH gone AS (DELETE FROM planned RETURNING *) SELECT * FROM gone",
    "CREATE TABLE zz AS SELECT 1",
    "SELECT 1 AS a INTO zz",
    "ANALYZE DELETE FROM planned",
    "(ANALYZE) DELETE FROM planned",
    "EXPLAIN ANALYZE DELETE FROM planned",
    "SELECT 1; DELETE FROM planned",
    "DO $$BEGIN DELETE FROM planned; END$$",
    "TRUNCATE planned",
    "COMMIT",
    "",
    ";",
    "SELECT 1 /* " + "x" * 100_000 + " */",
)


@pytest.mark.parametrize("query", WRITES, ids=[query[:30] for query in WRITES])
async def test_what_is_no_read_is_refused_and_has_no_effect(db_session: AsyncSession, query: str) -> None:
    await big(db_session)
    with pytest.raises(QueryNotExplainable, match="The query cannot be explained: ") as caught:
        await analyze_query_plan(db_session, query)
    assert caught.value.status == 422
    state = await db_session.execute(text("SELECT count(*), sum(kind), to_regclass('zz') FROM planned"))
    assert state.one() == (20000, 9_990_000, None)


@pytest.mark.parametrize("query", [delete(Record), update(Record).values(version=1), func.now(), 7])
async def test_what_is_no_query_object_of_a_read_is_refused(db_session: AsyncSession, query: object) -> None:
    with pytest.raises(QueryNotExplainable):
        await analyze_query_plan(db_session, query)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELEC 1", "syntax"),
        ("SELECT * FROM nowhere", "table"),
        ("SELECT nothing FROM records", "column"),
        ("SELECT nothing(1)", "function"),
        ("SELECT 'hunter2'::int", "planning"),
        ("SELECT 'hunter2\0'", "no text"),
        ("SELECT 'hunter2\ud800'", "no text"),
    ],
)
async def test_the_reason_is_ours_and_not_the_servers_text(
    db_session: AsyncSession, query: str, reason: str
) -> None:
    with pytest.raises(QueryNotExplainable) as caught:
        await analyze_query_plan(db_session, query)
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert await db_session.scalar(text("SELECT 1")) == 1


async def test_the_session_goes_on_as_before(database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("SET LOCAL lock_timeout = '7s'"))
        await session.execute(text("CREATE TEMPORARY TABLE kept (id int) ON COMMIT DROP"))
        await analyze_query_plan(session, "SELECT * FROM kept")
        with pytest.raises(QueryNotExplainable):
            await analyze_query_plan(session, "SELECT * FROM nowhere")
        await session.execute(text("INSERT INTO kept VALUES (1)"))  # not read-only any more
        shown = [
            await session.scalar(text(f"SHOW {name}"))
            for name in ("lock_timeout", "statement_timeout", "plan_cache_mode", "transaction_read_only")
        ]
        assert shown == ["7s", "30s", "auto", "off"]
        statement = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'gatehouse%'"
        assert await session.scalar(text(statement)) == 0
        await session.commit()


async def test_what_waits_to_be_written_is_not_written(db_session: AsyncSession) -> None:
    record = Record(name="pending")
    db_session.add(record)
    await analyze_query_plan(db_session, select(Record))
    assert record in db_session.new


async def test_a_locked_table_is_a_timeout_soon(database: Database) -> None:
    async with database.session() as locking, database.session() as session:
        await locking.execute(text("LOCK TABLE records IN ACCESS EXCLUSIVE MODE"))
        async with asyncio.timeout(5):
            with pytest.raises(DatabaseTimeout):
                await analyze_query_plan(session, select(Record))
        assert await session.scalar(text("SELECT 1")) == 1
