"""Statements that somebody might send to have more done than planned, with what they have to be answered with."""

from typing import NamedTuple

CANARY = "canary-of-hostile-statements-5b1e"
FILE = f"/tmp/{CANARY}"


class Hostile(NamedTuple):
    """``planned`` and ``run`` are the statuses without and with ``analyze``. A plan of 200 has no effect: nothing but functions that are
    declared STABLE or IMMUTABLE, and CHECKs of domains, is computed for it, in a READ ONLY transaction.
    """

    sql: str
    planned: int = 422
    run: int = 422


def _only_planned(*statements: str) -> tuple[Hostile, ...]:
    return tuple(Hostile(sql, planned=200) for sql in statements)


def _refused(*statements: str) -> tuple[Hostile, ...]:
    return tuple(Hostile(sql) for sql in statements)


NOTES = "attacked.notes"

SCHEMA = f"""
CREATE SCHEMA attacked;
CREATE SEQUENCE attacked.counter;
CREATE TABLE {NOTES} (id int PRIMARY KEY, n int NOT NULL, secret text NOT NULL);
INSERT INTO {NOTES} SELECT i, i, '{CANARY}' FROM generate_series(1, 100) i;
CREATE FUNCTION attacked.writes(a int DEFAULT 1, b int DEFAULT 1) RETURNS int LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO {NOTES} VALUES (1000 + nextval('attacked.counter'), 0, ''); RETURN a; END$$;
CREATE FUNCTION attacked.claims_stable() RETURNS int STABLE LANGUAGE plpgsql AS
  $$BEGIN PERFORM nextval('attacked.counter'); PERFORM pg_advisory_lock(4711); RETURN 1; END$$;
CREATE FUNCTION attacked.claims_immutable() RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$BEGIN PERFORM pg_advisory_lock(4712); PERFORM nextval('attacked.counter'); RETURN 1; END$$;
CREATE FUNCTION attacked.locks() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_lock(4713); RETURN 1; END$$;
CREATE FUNCTION attacked.leaks() RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT secret FROM {NOTES} LIMIT 1';
CREATE FUNCTION attacked.raises() RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'the secret is %', attacked.leaks() USING DETAIL = attacked.leaks(), ERRCODE = 'P0001'; END$$;
CREATE FUNCTION attacked.defaulted(a int DEFAULT nextval('attacked.counter')::int) RETURNS int IMMUTABLE LANGUAGE internal AS 'int4abs';
CREATE VIEW attacked.writing AS SELECT attacked.writes(1) AS n;
CREATE OPERATOR attacked.@@@@ (LEFTARG = int, RIGHTARG = int, FUNCTION = attacked.writes);
CREATE AGGREGATE attacked.total (int) (SFUNC = attacked.writes, STYPE = int);
CREATE TYPE attacked.odd AS (a int);
CREATE FUNCTION attacked.odd_of(a int) RETURNS attacked.odd LANGUAGE plpgsql AS
  $$BEGIN PERFORM attacked.writes(a); RETURN ROW(a)::attacked.odd; END$$;
CREATE CAST (int AS attacked.odd) WITH FUNCTION attacked.odd_of(int);
CREATE DOMAIN attacked.checked AS int CHECK (attacked.writes(VALUE) = VALUE);
CREATE TYPE attacked.holding AS (a attacked.checked);
CREATE PROCEDURE attacked.wipe() LANGUAGE sql AS 'DELETE FROM {NOTES}';
"""

STACKED = _refused(
    f"SELECT 1; DELETE FROM {NOTES}",
    f"SELECT 1; COMMIT; DROP TABLE {NOTES}",
    f"SELECT '{CANARY};' ; -- more\nDELETE FROM {NOTES}",
    f"SELECT 1;; DROP TABLE {NOTES}",
    f"COMMIT; DROP TABLE {NOTES}; --",
    f"; DROP TABLE {NOTES}",
    "SELECT 1; SELECT 2",
)
COMMENTS = (
    *_refused(
        f"/* /* nested */ SELECT 1 */ DROP TABLE {NOTES}",
        "SELECT 1 /* never closed",
        "SELECT 1 /* /* closed once */",
        f"--\rDROP TABLE {NOTES}",
        f"/**/TRUNCATE/**/{NOTES}",
        "-- nothing but a comment",
    ),
    *_only_planned(f"/* SELECT 1; */ DELETE/**/FROM {NOTES}"),
)
CHANGES = _only_planned(
    f"INSERT INTO {NOTES} VALUES (999, 1, '{CANARY}')",
    f"UPDATE {NOTES} SET secret = '{CANARY}' WHERE id = 1",
    f"DELETE FROM {NOTES} RETURNING secret",
    f"MERGE INTO {NOTES} t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE",
    f"WITH gone AS (DELETE FROM {NOTES} RETURNING *) SELECT * FROM gone",
    f"WITH a AS (INSERT INTO {NOTES} VALUES (998, 1, '') RETURNING n) SELECT 1 FROM a",
    f"WITH a AS (SELECT 1) UPDATE {NOTES} SET n = 0",
    f"INSERT INTO {NOTES} SELECT 500, attacked.writes(1), '' ON CONFLICT (id) DO UPDATE SET n = 0",
    f"SELECT * FROM {NOTES} FOR UPDATE",
    f"SELECT * FROM {NOTES} FOR SHARE SKIP LOCKED",
    f"SELECT (SELECT secret FROM {NOTES} WHERE id = 1 FOR NO KEY UPDATE)",
)
UTILITIES = _refused(
    f"SELECT * INTO attacked.copied FROM {NOTES}",
    f"WITH x AS (SELECT * FROM {NOTES}) SELECT * INTO TEMP copied FROM x",
    f"CREATE TABLE attacked.copied AS SELECT * FROM {NOTES}",
    f"CREATE MATERIALIZED VIEW attacked.copied AS SELECT * FROM {NOTES}",
    f"EXPLAIN ANALYZE DELETE FROM {NOTES}",
    f"EXPLAIN (ANALYZE) CREATE TABLE attacked.copied AS SELECT * FROM {NOTES}",
    f"(ANALYZE) DELETE FROM {NOTES}",
    f"(ANALYZE, FORMAT JSON) SELECT attacked.writes() FROM {NOTES}",
    f"ANALYZE DELETE FROM {NOTES}",
    f"COPY {NOTES} TO PROGRAM 'touch {FILE}'",
    f"COPY (SELECT '{CANARY}') TO '{FILE}'",
    f"COPY {NOTES} FROM '/etc/passwd'",
    f"DO $$BEGIN DELETE FROM {NOTES}; END$$",
    "CALL attacked.wipe()",
    f"TRUNCATE {NOTES}",
    "DROP SCHEMA attacked CASCADE",
    f"VACUUM FULL {NOTES}",
    f"LOCK TABLE {NOTES}",
    f"ALTER ROLE postgres PASSWORD '{CANARY}'",
    f"ALTER SYSTEM SET archive_command = 'touch {FILE}'",
    "SET SESSION AUTHORIZATION postgres",
    "SET transaction_read_only = off",
    "RESET ALL",
    "LISTEN a",
    f"NOTIFY a, '{CANARY}'",
    "PREPARE p AS SELECT 1",
    "EXECUTE __asyncpg_stmt_1__",
    "DEALLOCATE ALL",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "BEGIN READ WRITE",
    "ROLLBACK",
    "LOAD 'auto_explain'",
)
VOLATILE = _only_planned(
    "SELECT pg_sleep(30)",
    "SELECT * FROM pg_sleep(30)",
    f"SELECT * FROM {NOTES} WHERE pg_sleep(n) IS NOT NULL",
    "SELECT * FROM pg_read_file('/etc/passwd')",
    "SELECT pg_catalog.\"pg_read_file\"('/etc/passwd') FROM pg_class",
    "SELECT * FROM pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    f"SELECT lo_export(1, '{FILE}')",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT nextval('attacked.counter')",
    "SELECT setval('attacked.counter', 99)",
    "SELECT 1 LIMIT (SELECT nextval('attacked.counter'))",
    "SELECT 1 OFFSET nextval('attacked.counter')",
    "SELECT * FROM (VALUES (nextval('attacked.counter')), (1)) v",
    "SELECT sum(n) OVER (ROWS attacked.writes(1) PRECEDING) FROM attacked.notes",
    f"SELECT count(*) FILTER (WHERE attacked.writes(n) = 1) FROM {NOTES}",
    f"SELECT n FROM {NOTES} GROUP BY n HAVING attacked.writes(n) = 1",
    f"SELECT DISTINCT ON (attacked.writes(n)) n FROM {NOTES}",
    f"SELECT CASE WHEN false THEN attacked.writes(n) END FROM {NOTES}",
    "SELECT pg_advisory_lock(4711)",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT pg_terminate_backend(pg_backend_pid())",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity",
    "SELECT pg_stat_reset()",
    "SELECT pg_reload_conf()",
    f"SELECT pg_notify('a', '{CANARY}')",
    f"SELECT query_to_xml('DELETE FROM {NOTES}', true, true, '')",
    f"SELECT * FROM ts_stat('DELETE FROM {NOTES} RETURNING NULL::tsvector')",
    "SELECT table_to_xml('attacked.writing', true, true, '')",
    "SELECT schema_to_xmlschema('attacked', true, true, '')",
    "SELECT pg_switch_wal()",
    "SELECT attacked.writes()",
    "SELECT * FROM attacked.writes()",
    "SELECT * FROM attacked.writing",
    f"SELECT * FROM {NOTES} WHERE n OPERATOR(attacked.@@@@) 1 = 1",
    f"SELECT attacked.total(n) FROM {NOTES}",
    f"SELECT attacked.total(n) OVER () FROM {NOTES}",
    f"SELECT n::attacked.odd FROM {NOTES}",
    f"SELECT n::attacked.checked FROM {NOTES}",
    f"SELECT ROW(n)::attacked.holding FROM {NOTES}",
    f"SELECT n::text::attacked.checked FROM {NOTES}",
    f"SELECT ('(' || n || ')')::attacked.holding FROM {NOTES}",
    "SELECT attacked.claims_stable()",
    "SELECT attacked.defaulted()",
    f"SELECT * FROM {NOTES} TABLESAMPLE BERNOULLI (attacked.writes(1))",
    "SELECT attacked.locks() FROM attacked.notes",
    "SELECT * FROM attacked.dblink('dbname=postgres', 'DROP TABLE x') AS t(a int)",
    "SELECT attacked.dblink_exec('dbname=postgres', 'DROP TABLE x')",
)
WHILE_PLANNING = _refused(
    f"DELETE FROM {NOTES} WHERE id = $1::attacked.checked",
    f"SELECT * FROM {NOTES} WHERE n = attacked.leaks()::int",
    f"SELECT * FROM {NOTES} WHERE n = attacked.raises()",
    f"SELECT * FROM {NOTES} WHERE n = attacked.claims_immutable()",
    f"SELECT * FROM {NOTES} WHERE n = attacked.claims_stable()",
    f"SELECT '{CANARY}'::int",
    f"SELECT '{CANARY}'::attacked.checked",
    "SELECT '(1)'::attacked.holding",
    f"SELECT * FROM {NOTES} WHERE secret::int = '{CANARY}'::bigint",
    "SELECT 1 / 0",
    f'SELECT "{CANARY}" FROM {NOTES}',
    f'SELECT * FROM "{CANARY}"',
    f"SELECT * FROM {NOTES} WHERE secret ~ '(((((((((({CANARY}'",
    "SELECT repeat('x', 2000000000)",
    "SELECT repeat('x', 5000000)",
)
SIZE = _refused(
    f"SELECT '{CANARY}{'x' * 100_000}'",
    "SELECT '" + "ä" * 60_000 + "'",
    "(" * 10_000,
    "(" * 3_000 + "SELECT 1" + ")" * 3_000,
    "SELECT " + "(" * 3_000 + "1" + ")" * 3_000,
    "SELECT " + "ARRAY[" * 3_000 + "1" + "]" * 3_000,
    "SELECT " + "(SELECT " * 300 + "1" + ")" * 300,
    "SELECT " + "NOT " * 20_000 + "true",
    "SELECT " + "- " * 20_000 + "1",
    "SELECT 1" + "+1" * 30_000,
    "SELECT " + "CASE WHEN true THEN " * 3_000 + "1" + " END" * 3_000,
    "SELECT 1" + " UNION ALL SELECT 1" * 2_100,
    "SELECT " + "1," * 2_000 + "1",
    "/*" * 40_000,
    "$a$" * 30_000,
    "'" * 99_999,
)
ODD = (
    *_refused(
        "",
        " \n\t ",
        ";",
        "SELECT '\0'",
        "SELECT '\ud800'",
        f"SELECT 1 \0; DROP TABLE {NOTES}",
        f"SELECT 1\uff1b DROP TABLE {NOTES}",
        f"\uff24\uff32\uff2f\uff30 TABLE {NOTES}",
        "\ufeffSELECT 1",
        f"\u00a0DELETE FROM {NOTES}",
        f"\u202eDELETE FROM {NOTES}",
        f"D\u0415LETE FROM {NOTES}",
        "SELECT 1\u2028; DROP TABLE x",
        "SELECT \u2019x\u2019",
        "SELECT $0",
        "SELECT $65536",
        "SELECT $999999999999999999999",
        "SELECT $2::int",
        "SELECT U&'\\D800'",
        "SELECT E'\\xff'",
        f"SELECT {CANARY}",
    ),
    *_only_planned(
        "SELECT $1",
        "SELECT $1::int + $2::int",
        f"SELECT * FROM {NOTES} WHERE id = $1 AND secret = '{CANARY}'",
        "SELECT * FROM pg_authid, attacked.writes()",
        # Harmless too; but where the server breaks a line of the tree inside a name, nobody can tell any more what the name is.
        f'SELECT 1 AS "; DROP TABLE {NOTES}; --"',
        'SELECT 1 AS "a) {FUNCEXPR :funcid 2626", 2 AS "\\} \\{"',
    ),
    *(  # Nothing in these is anything but text or a name.
        Hostile(sql, planned=200, run=200)
        for sql in (
            f"SELECT '{CANARY}; DELETE FROM {NOTES}; --'",
            f"SELECT $${CANARY}; DROP TABLE {NOTES}$$",
            f"SELECT U&'\\0064' || '{CANARY}' -- ; DROP TABLE {NOTES}",
            f"TABLE {NOTES}",
        )
    ),
)
HOSTILE = (
    *STACKED, *COMMENTS, *CHANGES, *UTILITIES, *VOLATILE, *WHILE_PLANNING, *SIZE, *ODD
)  # fmt: skip
