"""The rules S1 to S12 by which the monitor keeps questions harmless, one class a rule. S11 (pages) has its tests at the pages; the attack
suite over HTTP is tests/builtin/db_monitor/test_hostile_statements.py.
"""

import os
from collections.abc import AsyncIterator

import pytest
from fastapi.routing import iter_route_contexts

from app.builtin.db_monitor.router import router
from app.core.db import Database, QueryNotExplainable, prepared_text
from app.core.errors import NotFound
from app.core.http._audit_route import gates_of
from app.core.monitor import (
    APPLICATION_NAME,
    MonitorDenied,
    MonitorLocked,
    MonitorServer,
    NotSupported,
    StatementRefused,
    admitted,
    explain,
    panel,
    report_on,
    shown_steps,
)
from app.core.monitor._analyze import explain_analyze
from app.core.monitor._statements import statement_text

ROLE = f"gatehouse_safety_reader_{os.getpid()}"  # roles are of the server, which all workers share
CANARY = "canary-of-safety-9c4d"
SCHEMA = f"""
CREATE SCHEMA safety;
CREATE SEQUENCE safety.counter;
CREATE TABLE safety.notes (id int PRIMARY KEY, secret text);
INSERT INTO safety.notes SELECT i, '{CANARY}' FROM generate_series(1, 100) i;
CREATE TYPE safety.mood AS ENUM ('well', 'ill');
CREATE FUNCTION safety.slow() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(30)';
CREATE FUNCTION safety.locking() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_lock(99); RETURN 1; END$$;
CREATE FUNCTION safety.positive(a int) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RETURN a > nextval('safety.counter'); END$$;
CREATE DOMAIN safety.guarded AS int CHECK (safety.positive(VALUE));
CREATE DOMAIN safety.plain AS int CHECK (VALUE > 0);
"""


@pytest.fixture(scope="module", autouse=True)
async def schema(database: Database) -> AsyncIterator[None]:
    async with database.engine.begin() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute(SCHEMA)
        await driver.execute(
            f"DROP ROLE IF EXISTS {ROLE}; CREATE ROLE {ROLE}; GRANT USAGE ON SCHEMA safety TO {ROLE}"
        )
    yield
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("DROP SCHEMA safety CASCADE")
        await connection.exec_driver_sql(f"DROP ROLE {ROLE}")


class TestS1NothingRunsUnlessItOnlyReads:
    async def test_planning_runs_nothing(self, server: MonitorServer) -> None:
        report = await report_on(server, "SELECT pg_sleep(30), nextval('safety.counter') FROM safety.notes")
        assert not report.is_analyzed
        assert not await server.put(lambda asked: asked.fetchval("SELECT is_called FROM safety.counter"))

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT id, lower(secret), count(*) OVER (PARTITION BY secret ORDER BY id) FROM safety.notes WHERE id IN (1, 2)",
            "SELECT secret, array_agg(id ORDER BY id), max(id) FROM safety.notes GROUP BY 1 HAVING count(*) > 1 LIMIT 5",
            "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 5) SELECT * FROM x",
            "SELECT 'well'::safety.mood, 7::safety.plain, ARRAY[1, 2], now(), '{\"a\": 1}'::jsonb -> 'a', row(1, 2) < row(1, 3)",
            "SELECT a.id FROM safety.notes a LEFT JOIN safety.notes b USING (id) WHERE b.id IS NULL AND (a.id, a.secret) > (1, 'a')",
            "SELECT * FROM pg_stat_activity a, LATERAL (SELECT count(*) FROM pg_class WHERE reltype = a.usesysid) b",
            "VALUES (1), (2)",
        ],
    )
    async def test_what_only_reads_runs(self, server: MonitorServer, sql: str) -> None:
        assert (await report_on(server, sql, analyze=True)).is_analyzed

    @pytest.mark.parametrize(
        ("sql", "reason"),
        [
            ("SELECT random()", "volatile"),
            ("SELECT id::safety.guarded FROM safety.notes", "volatile|body"),
            ("SELECT safety.slow()", "body"),
            ("SELECT * FROM safety.notes FOR UPDATE", "lock rows"),
            ("WITH x AS (DELETE FROM safety.notes RETURNING id) SELECT * FROM x", "change rows"),
            ("SELECT * FROM safety.notes WHERE id = $1", "parameters"),
            ("SELECT * FROM safety.notes TABLESAMPLE SYSTEM (1)", "not known to only read"),
            ("SELECT " + "1, " * 40_000 + "1", "columns|planning|large|syntax"),
        ],
    )
    async def test_what_may_do_more_is_refused(self, server: MonitorServer, sql: str, reason: str) -> None:
        with pytest.raises(QueryNotExplainable, match=reason):
            await report_on(server, sql[:99_999], analyze=True)

    async def test_a_run_ends_in_its_time(self, server: MonitorServer) -> None:
        endless = "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n FROM x) SELECT count(*) FROM x"
        async with server.ask() as connection:
            with pytest.raises(StatementRefused, match="running it takes longer"):
                await explain_analyze(connection, endless, limit_ms=20)
            assert await connection.fetchval("SELECT 1") == 1


class TestS2OneStatementByProtocol:
    @pytest.mark.parametrize(
        "sql",
        ["SELECT 1; DELETE FROM safety.notes", "(ANALYZE) DELETE FROM safety.notes", "ANALYZE SELECT 1"],
    )
    async def test_the_server_itself_refuses_what_would_be_more_or_an_option(
        self, server: MonitorServer, sql: str
    ) -> None:
        async with server.ask() as connection:
            with pytest.raises(QueryNotExplainable, match="syntax error, or is more than one"):
                async with prepared_text(connection, sql):
                    pass

    @pytest.mark.parametrize(
        "sql",
        ["SELECT ';'", "SELECT 'COMMIT; --'", 'SELECT 1 AS "a;b"', "SELECT $x$;$x$;", "SELECT /* ; */ 1"],
    )
    async def test_a_semicolon_in_a_literal_is_none(self, server: MonitorServer, sql: str) -> None:
        assert (await report_on(server, sql)).plan.root.kind == "Result"


class TestS3WhatIsAdmitted:
    @pytest.mark.parametrize(
        "sql",
        [
            "CREATE TABLE a AS SELECT 1",
            "COPY a TO PROGRAM 'x'",
            "DECLARE a CURSOR FOR SELECT 1",
            "EXECUTE a",
            "",
            "'",
        ],
    )
    def test_utilities_are_refused_before_the_server_sees_them(self, sql: str) -> None:
        with pytest.raises(StatementRefused, match="not one SELECT"):
            admitted(sql)

    @pytest.mark.parametrize(
        ("sql", "reason"),
        [
            ("SELECT '" + "x" * 99_990 + "'", None),
            ("SELECT '" + "x" * 99_992 + "'", "longer"),
            ("SELECT '" + "ä" * 50_000 + "'", "longer than 100,000 bytes"),
            ("(" * 250 + "SELECT 1" + ")" * 250, None),
            ("(" * 251 + "SELECT 1" + ")" * 251, "nested"),
            ("SELECT '" + "(" * 5_000 + "'", None),
            ("SELECT $1000", None),
            ("SELECT $1001", "numbered"),
            ("SELECT '\0'", "no text"),
            ("SELECT '\ud800'", "no text"),
        ],
    )
    def test_size_nesting_parameters_and_characters_have_bounds(self, sql: str, reason: str | None) -> None:
        if reason is None:
            assert admitted(sql) == sql
        else:
            with pytest.raises(QueryNotExplainable, match=reason):
                admitted(sql)

    async def test_planning_has_a_limit_of_time(self, server: MonitorServer) -> None:
        async with server.ask(statement_timeout_ms=20) as connection:
            with pytest.raises(StatementRefused, match="planning it takes longer"):
                await explain(connection, "SELECT * FROM safety.notes WHERE id = safety.slow()")


class TestS4LimitsOfTheTransaction:
    async def test_it_only_reads_and_neither_runs_nor_waits_for_long(self, server: MonitorServer) -> None:
        names = (
            "transaction_read_only",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
        )
        async with server.ask(statement_timeout_ms=2_000) as connection:
            shown = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
            assert shown == ["on", "2s", "200ms", "5s"]
            await explain(connection, "SELECT 1")
            assert await connection.fetchval("SELECT current_setting('plan_cache_mode')") == "auto"

    async def test_a_migrations_lock_is_not_waited_for(
        self, server: MonitorServer, database: Database
    ) -> None:
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("LOCK TABLE safety.notes IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(MonitorLocked):
                await report_on(server, "SELECT * FROM safety.notes")


class TestS5ConnectionsOfItsOwn:
    async def test_nothing_that_a_statement_leaves_in_the_session_stays(self, server: MonitorServer) -> None:
        async with server.ask() as connection:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            await explain(connection, "SELECT * FROM safety.notes WHERE id = safety.locking()")
            assert await connection.fetchval("SELECT current_setting('application_name')") == APPLICATION_NAME
            with pytest.raises(QueryNotExplainable):
                await explain(connection, "SELECT nothing")
        left = "SELECT (SELECT count(*) FROM pg_locks WHERE pid = $1 AND locktype = 'advisory')"
        names = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'gatehouse_%'"
        assert await server.put(lambda asked: asked.fetchval(left, pid)) == 0
        assert await server.put(lambda asked: asked.fetchval(names)) == 0


class TestS6ErrorsInOurWords:
    @pytest.mark.parametrize(
        ("sql", "words"),
        [
            ("SELECT FROM WHERE", "it has a syntax error, or is more than one statement"),
            (f'SELECT * FROM "{CANARY}"', "it names a table that does not exist"),
            (f'SELECT "{CANARY}" FROM safety.notes', "it names a column that does not exist"),
            ("SELECT nothing(1)", "it names a function or operator that does not exist"),
            (f"SELECT '{CANARY}'::int", "planning it failed"),
            ("SELECT 1 / 0", "planning it failed"),
            (
                "SELECT " + "NOT " * 20_000 + "true",
                "it has a syntax error, or is more than one statement|nested",
            ),
        ],
    )
    async def test_no_word_of_the_servers_is_told(self, server: MonitorServer, sql: str, words: str) -> None:
        with pytest.raises(
            QueryNotExplainable, match=f"^The query cannot be explained: (it is )?({words})"
        ) as caught:
            await report_on(server, sql)
        assert (caught.value.status, CANARY in str(caught.value)) == (422, False)


class TestS7WhoMayWhat:
    def test_every_path_wants_the_scope_and_nothing_kills_or_resets(self) -> None:
        routes = list(iter_route_contexts(router.routes))
        acting = {route.path for route in routes if route.methods != {"GET"}}
        assert acting <= {
            "/db-monitor/analyze-query",
            "/db-monitor/optimize-query",
            "/ui/db-monitor/explain",
        }
        gates = [(route.path, gate) for route in routes for gate in gates_of(route)]
        assert len(gates) == len(routes) > 1
        for path, gate in gates:
            scope = "write:monitor" if path == "/ui/db-monitor/explain" else "read:monitor"
            assert gate.config.security.scopes == (scope,), path


class TestS8NoValues:
    async def test_neither_text_nor_plan_nor_findings_hold_a_value(self, server: MonitorServer) -> None:
        sql = f"SELECT secret || '{CANARY}' FROM safety.notes /* {CANARY} */ WHERE secret = '{CANARY}' ORDER BY '{CANARY}' || secret"
        report = await report_on(server, sql)
        assert CANARY in sql
        assert CANARY not in report.text + repr(shown_steps(report.plan)) + repr(report.findings)


class TestS9ARoleThatMayLittle:
    async def test_what_the_role_may_not_read_is_refused(self, server: MonitorServer) -> None:
        async with server.ask() as connection:
            await connection.execute(f"SET LOCAL ROLE {ROLE}")
            with pytest.raises(QueryNotExplainable, match="this role may not read"):
                await explain(connection, "SELECT * FROM safety.notes")

    async def test_texts_that_the_role_may_not_see_are_no_statements(
        self, server: MonitorServer, database: Database
    ) -> None:
        with pytest.raises(NotSupported):
            await server.put(lambda asked: statement_text(asked, 1))
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("CREATE EXTENSION pg_stat_statements SCHEMA safety")
            await connection.exec_driver_sql("SELECT count(*) FROM safety.notes")
        one = "SELECT queryid FROM safety.pg_stat_statements WHERE query LIKE 'SELECT count(*) FROM safety.notes%'"
        async with server.ask() as asked:
            queryid = await asked.fetchval(one)
            assert await statement_text(asked, queryid) == "SELECT count(*) FROM safety.notes"
            with pytest.raises(NotFound, match="does not know"):
                await statement_text(asked, 1)
            await asked.execute(f"SET LOCAL ROLE {ROLE}")
            with pytest.raises(MonitorDenied):
                await statement_text(asked, queryid)


class TestS10PanelsFailAlone:
    async def test_a_locked_table_costs_one_panel_and_says_so(
        self, server: MonitorServer, database: Database
    ) -> None:
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("LOCK TABLE safety.notes IN ACCESS EXCLUSIVE MODE")
            locked = await panel("plan", lambda: report_on(server, "SELECT * FROM safety.notes"))
            other = await panel("plan", lambda: report_on(server, "SELECT 1"))
        assert (locked.value, locked.reason) == (None, "Not available while a table is locked")
        assert other.value is not None


class TestS12StandbysAndPoolers:
    @pytest.mark.parametrize("analyze", [False, True])
    async def test_nothing_needs_a_transaction_that_a_standby_cannot_have(
        self, server: MonitorServer, analyze: bool
    ) -> None:
        sql, one = "SELECT count(*) FROM safety.notes", "SELECT pg_current_xact_id_if_assigned()::text"
        async with server.ask() as connection:
            await (explain_analyze(connection, sql) if analyze else explain(connection, sql))
            assert await connection.fetchval(one) is None
