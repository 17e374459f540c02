"""Statements that must be refused, before they do anything."""

from bench.advice._case import Case

_STATEMENTS = {
    "utility: VACUUM": "VACUUM orders",
    "utility: SET": "SET work_mem = '1GB'",
    "utility: LOCK": "LOCK TABLE orders",
    "utility: CALL": "CALL pg_catalog.nothing()",
    "utility: NOTIFY": "NOTIFY somebody, 'x'",
    "utility: transaction": "COMMIT",
    "utility: PREPARE": "PREPARE p AS SELECT 1",
    "utility: EXECUTE": "EXECUTE p",
    "utility: DO": "DO $$ BEGIN DELETE FROM plans; END $$",
    "utility: EXPLAIN ANALYZE": "EXPLAIN ANALYZE DELETE FROM plans",
    "DDL: index": "CREATE INDEX ON orders (customer_id)",
    "DDL: table as": "CREATE TABLE copied AS SELECT * FROM orders",
    "DDL: view": "CREATE VIEW v AS SELECT 1 AS one",
    "DDL: drop": "DROP TABLE plans",
    "DDL: truncate": "TRUNCATE plans",
    "COPY out": "COPY orders TO STDOUT",
    "COPY program": "COPY plans FROM PROGRAM 'true'",
    "stacked": "SELECT 1; DELETE FROM plans",
    "stacked in a comment's shadow": "SELECT 1 --\n; DROP TABLE plans",
    "INTO": "SELECT * INTO stolen FROM customers",
    "cursor": "DECLARE c CURSOR FOR SELECT * FROM orders",
    "syntax error": "SELEC id FROM orders",
    "unfinished": "SELECT * FROM orders WHERE",
    "unknown table": "SELECT * FROM no_such_table WHERE id = 1",
    "unknown column": "SELECT no_such_column FROM orders",
    "nothing": "   ",
    "a comment alone": "-- nothing here",
}
CASES = tuple(Case(name, "refused", sql, is_refused=True) for name, sql in _STATEMENTS.items())
