"""Nobody who may make operators can have the monitor's questions run code of his: the monitor's role may have rights that he lacks."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.core.db import Database
from app.core.monitor import (
    Asked,
    MonitorServer,
    autovacuum,
    connections,
    index_report,
    locks,
    replication,
    report_on,
    sequences,
    server_settings,
    table_detail,
    table_sizes,
    wraparound,
)

# For types that the catalogs are made of, every operator that PostgreSQL itself lacks: one of those would be preferred to a cast.
_MAKE = """
CREATE SCHEMA shadow; SET LOCAL search_path = shadow, public;
CREATE TABLE shadow.seen (id serial PRIMARY KEY, name text); CREATE INDEX ON shadow.seen (name);
INSERT INTO shadow.seen (name) VALUES ('a');
DO $$
DECLARE
  types text[] := '{name,text,oid,int8,int4,int2,"char",regclass,float8,float4}'; op text; a text; b text; f text;
BEGIN
  FOREACH op IN ARRAY '{||,~,!~,~~,!~~,=,<>,<,>,<=,>=}'::text[] LOOP FOREACH a IN ARRAY types LOOP FOREACH b IN ARRAY types LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_operator WHERE oprname = op AND oprleft = a::regtype AND oprright = b::regtype);
    f := format('shadow.%I', 'f' || md5(op || a || b));
    EXECUTE format('CREATE FUNCTION %s(%s, %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''%s %s %s''''; END''',
                   f, a, b, CASE op WHEN '||' THEN 'text' ELSE 'bool' END, a, op, b);
    EXECUTE format('CREATE OPERATOR shadow.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %s)', op, a, b, f);
  END LOOP; END LOOP; END LOOP;
END $$
"""
_QUESTIONS: tuple[Callable[[Asked], Any], ...] = (
    autovacuum, connections, index_report, locks, replication, sequences, server_settings, table_sizes, wraparound,
    lambda asked: table_detail(asked, "shadow.seen"),
)  # fmt: skip


@pytest.fixture
async def shadowed(database: Database) -> AsyncIterator[None]:
    name = database.engine.url.database
    async with database.engine.begin() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(f"{_MAKE}; ALTER DATABASE {name} SET search_path = shadow, public")
    yield
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(f"ALTER DATABASE {name} RESET search_path")
        await connection.exec_driver_sql("DROP SCHEMA shadow CASCADE")


async def test_no_question_calls_an_operator_that_somebody_made(
    database: Database, shadowed: None, server: MonitorServer
) -> None:
    wrong = []
    for question in _QUESTIONS:
        try:
            await server.put(question)
        except Exception as error:  # noqa: BLE001 - all that call one are wanted
            wrong.append((question, str(error.__cause__)))
    report = await report_on(server, "SELECT * FROM seen WHERE name = 'a'")
    assert wrong == []
    assert report.plan.root.table == "shadow.seen"
