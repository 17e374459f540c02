import pytest

from app.core.db import QueryNotExplainable
from app.core.monitor import MonitorServer, explain, plan_of

PLANNED = {
    "SELECT name FROM records WHERE id = $1": "Index Scan",
    "SELECT name FROM records WHERE version > $1 ORDER BY name LIMIT $2": "Limit",
    "VALUES (1), (2)": "Values Scan",
    "TABLE records": "Seq Scan",
    "WITH few AS MATERIALIZED (SELECT id FROM records) SELECT * FROM few": "CTE Scan",
    "INSERT INTO records (name) VALUES ($1)": "ModifyTable",
    "UPDATE records SET name = $1 WHERE id = $2 RETURNING id": "ModifyTable",
    "DELETE FROM records WHERE name = $1": "ModifyTable",
    "MERGE INTO records r USING (SELECT 1 AS v) s ON r.version = s.v WHEN MATCHED THEN DELETE": "ModifyTable",
}


@pytest.mark.parametrize("statement", PLANNED)
async def test_statements_are_planned_for_any_value_and_nothing_stays(
    server: MonitorServer, statement: str
) -> None:
    async with server.ask() as connection:
        plan = plan_of(await explain(connection, statement))
        left = await connection.fetchval(
            "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'gatehouse%'"
        )
    assert plan.root.kind == PLANNED[statement]
    assert [step.number for step in plan.root.walk()] == list(range(1, 1 + len(list(plan.root.walk()))))
    assert not plan.is_analyzed
    assert left == 0


async def test_values_that_are_given_are_planned_for(server: MonitorServer) -> None:
    statement = "SELECT id FROM records WHERE $1::text = 'it''s'"
    async with server.ask() as connection:
        for_any = plan_of(await explain(connection, statement))
        for_one = plan_of(await explain(connection, statement, parameters=["it's"]))
        for_none = plan_of(await explain(connection, statement, parameters=[None]))
        with pytest.raises(QueryNotExplainable, match="1 parameters and not 2"):
            await explain(connection, statement, parameters=["a", "b"])
    assert "$1" in (for_any.root.one_time_filter or "")
    assert for_one.root.one_time_filter is None
    assert for_none.root.one_time_filter == "false"


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE zz AS SELECT 1", "SELECT 1 AS a INTO zz", "DO $$BEGIN END$$", "COMMIT", ""]
)
async def test_what_is_no_query_is_refused_and_the_transaction_goes_on(
    server: MonitorServer, statement: str
) -> None:
    async with server.ask() as connection:
        with pytest.raises(QueryNotExplainable, match="The query cannot be explained: "):
            await explain(connection, statement)
        assert await connection.fetchval("SELECT to_regclass('zz')") is None
